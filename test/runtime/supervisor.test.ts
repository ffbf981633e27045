import { expect, test } from 'vitest'
import type { BackgroundService, Runtime, TickReport } from '../../src/context.ts'
import { DatabaseAway } from '../../src/lib/database-away.ts'
import { createLocalWake } from '../../src/runtime/local-wake.ts'
import { createSupervisor } from '../../src/runtime/supervisor.ts'
import { createFakeTime } from '../support/fake-time.ts'
import { createTestLog } from '../support/log.ts'

const idle: TickReport = { done: 0, more: false }

/** One service under a supervisor whose time the test moves. Each tick takes the next answer; the last one repeats. */
function supervise(
  service: Partial<BackgroundService>,
  answers: (TickReport | Error | Promise<TickReport>)[] = [idle],
) {
  const time = createFakeTime()
  const log = createTestLog()
  const wake = createLocalWake(log)
  const runtime = { clock: time.clock, log, wake, probes: {} } as unknown as Runtime
  const ticks: number[] = []
  const supervisor = createSupervisor(
    runtime,
    [
      {
        name: 'example',
        periodMs: 1000,
        async tick() {
          ticks.push(time.clock.monotonicMs())
          const answer = answers[Math.min(ticks.length, answers.length) - 1]!
          if (answer instanceof Error) throw answer
          return answer
        },
        ...service,
      },
    ],
    time.after,
  )
  const status = () => supervisor.status()[0]!
  return {
    time,
    log,
    wake,
    runtime,
    ticks,
    supervisor,
    status,
    health: () => runtime.probes['services']!(),
    metrics: async () => (await Promise.all(runtime.collectors!.map((collect) => collect()))).flat(),
  }
}

test('ticks at once and then at its period', async () => {
  const { time, ticks } = supervise({})
  await time.advance(3000)
  expect(ticks).toEqual([0, 1000, 2000, 3000])
})

test('a wake-up of its kind calls it early, any number of them once, others not', async () => {
  const { time, ticks, wake } = supervise({ wakeOn: ['run-ready'] })
  await time.advance(300)
  wake.command('r1')
  await time.advance(0)
  expect(ticks).toEqual([0])
  for (let i = 0; i < 5; i++) wake.runReady(`r${i}`)
  await time.advance(0)
  expect(ticks).toEqual([0, 300])
  await time.advance(1000)
  expect(ticks).toEqual([0, 300, 1300])
})

test('never runs two ticks at once: wake-ups during one lead to exactly one more after it', async () => {
  let finish: (report: TickReport) => void = () => {}
  const slow = new Promise<TickReport>((resolve) => (finish = resolve))
  const { time, ticks, wake, status } = supervise({ wakeOn: ['run-ready'] }, [slow, idle])
  await time.advance(5000)
  wake.runReady('r1')
  wake.runReady('r2')
  await time.advance(0)
  expect(ticks).toEqual([0])
  expect(status().running_ms).toBe(5000)
  finish(idle)
  await time.advance(0)
  expect(ticks).toEqual([0, 5000])
  expect(status()).toMatchObject({ running_ms: null, ticks: 2 })
})

test('ticks again at once while there is more', async () => {
  const more = { done: 10, more: true }
  const { time, ticks } = supervise({}, [more, more, idle])
  await time.advance(500)
  expect(ticks).toEqual([0, 0, 0])
})

test('ticks sooner than its period when it knows of work, never later, and never in a spin', async () => {
  const { time, ticks } = supervise({}, [
    { ...idle, nextInMs: 250 },
    { ...idle, nextInMs: 60_000 },
    { ...idle, nextInMs: 0 },
    idle,
  ])
  await time.advance(1500)
  expect(ticks).toEqual([0, 250, 1250, 1260])
})

test('backs off from a failing service, holds off wake-ups meanwhile, and recovers', async () => {
  const boom = Object.assign(new Error('boom at db.internal'), { code: 'ECONNREFUSED' })
  const { time, ticks, wake, status, log, health } = supervise({ wakeOn: ['run-ready'] }, [boom, boom, boom, idle])
  await time.advance(500)
  wake.runReady('r1')
  await time.advance(2500)
  expect(ticks).toEqual([0, 1000, 3000])
  expect(status()).toMatchObject({
    last_result: 'failed',
    last_error: 'Error ECONNREFUSED',
    failures_in_a_row: 3,
    failures: 3,
    troubled: true,
  })
  expect(await health()).toEqual({ status: 'degraded', detail: 'Failing or stuck: example.' })

  await time.advance(4000)
  expect(ticks).toEqual([0, 1000, 3000, 7000])
  expect(status()).toMatchObject({ last_result: 'ok', last_error: null, failures_in_a_row: 0, failures: 3, ticks: 4 })
  expect(await health()).toEqual({ status: 'healthy' })
  expect(log.lines.map(({ level }) => level)).toEqual(['error', 'error', 'error', 'info'])
})

test('what measures at even distances keeps its period while it fails', async () => {
  const { time, ticks } = supervise({ steady: true }, [new Error('boom')])
  await time.advance(3000)
  expect(ticks).toEqual([0, 1000, 2000, 3000])
})

test('tells what it supervises through the runtime', async () => {
  const { time, runtime } = supervise({})
  await time.advance(0)
  expect(runtime.services!()).toMatchObject([{ name: 'example', ticks: 1, troubled: false }])
})

test('the backoff ends at a minute', async () => {
  const { time, ticks } = supervise({}, [new Error('boom')])
  await time.advance(600_000)
  const gaps = ticks.slice(1).map((at, i) => at - ticks[i]!)
  expect(Math.max(...gaps)).toBe(60_000)
})

test('a service that finds the database away looks again every two seconds, whatever its period', async () => {
  const { time, ticks } = supervise({ periodMs: 10_000 }, [new DatabaseAway(new Error('refused'))])
  await time.advance(6_000)
  expect(ticks).toEqual([0, 2_000, 4_000, 6_000])
})

test('one failing service does not hold up another', async () => {
  const time = createFakeTime()
  const log = createTestLog()
  const runtime = { clock: time.clock, log, wake: createLocalWake(log), probes: {} } as unknown as Runtime
  let good = 0
  createSupervisor(
    runtime,
    [
      { name: 'bad', periodMs: 1000, tick: () => Promise.reject(new Error('boom')) },
      {
        name: 'throws',
        periodMs: 1000,
        tick: () => {
          throw new Error('at once')
        },
      },
      { name: 'good', periodMs: 1000, tick: async () => (good++, idle) },
    ],
    time.after,
  )
  await time.advance(10_000)
  expect(good).toBe(11)
})

test('measures when, how long, how late and how much', async () => {
  let finish: (report: TickReport) => void = () => {}
  const slow = new Promise<TickReport>((resolve) => (finish = resolve))
  const { time, status, metrics } = supervise({}, [slow])
  expect(status()).toMatchObject({ last_tick_at: null, last_result: null, last_duration_ms: null, ticks: 0 })
  await time.advance(70)
  finish({ done: 7, more: false })
  await time.settle()
  expect(status()).toMatchObject({
    name: 'example',
    period_ms: 1000,
    last_tick_at: '2026-01-01T00:00:00.070Z',
    last_duration_ms: 70,
    last_result: 'ok',
    last_done: 7,
    lag_ms: 0,
  })
  expect(await metrics()).toContainEqual(
    expect.objectContaining({
      name: 'automatos_service_last_duration_seconds',
      samples: [{ labels: { service: 'example' }, value: 0.07 }],
    }),
  )
})

test('a tick that hangs shows in health', async () => {
  const { time, health } = supervise({}, [new Promise<TickReport>(() => {})])
  await time.advance(60_000)
  expect(await health()).toEqual({ status: 'healthy' })
  await time.advance(1)
  expect(await health()).toMatchObject({ status: 'degraded' })
})

test('stop waits for the tick in progress and lets none follow', async () => {
  let finish: (report: TickReport) => void = () => {}
  const slow = new Promise<TickReport>((resolve) => (finish = resolve))
  const { time, ticks, wake, supervisor } = supervise({ wakeOn: ['run-ready'] }, [slow])
  await time.advance(0)
  let stopped = false
  const stopping = supervisor.stop().then(() => (stopped = true))
  await time.advance(5000)
  expect(stopped).toBe(false)
  finish({ done: 1, more: true })
  await stopping
  wake.runReady('r1')
  await time.advance(5000)
  expect(ticks).toEqual([0])
  expect(time.pendingTimers()).toBe(0)
})
