import { env } from 'cloudflare:workers'
import { describe, expect, test } from 'vitest'
import type { AlarmStatus, AlarmTarget, Bindings } from '../../src/runtime/workers/bindings.ts'
import { createDispatchWake, shardCount, dispatcherOf } from '../../src/runtime/workers/dispatch.ts'
import { openWorkerRuntime } from '../../src/runtime/workers/runtime.ts'
import { hear } from '../runtime/wake.suite.ts'
import { createTestLog } from '../support/log.ts'

/** Namespaces whose objects note who was poked; `answer` decides how a poke ends. */
function openWake(answer: (name: string) => Promise<void> = async () => {}) {
  const poked: string[] = []
  const work: Promise<unknown>[] = []
  const log = createTestLog()
  const target = (name: string): AlarmTarget => ({
    poke: () => {
      poked.push(name)
      return answer(name)
    },
    status: async (): Promise<AlarmStatus> => ({ nextPassAt: null, failures: 0, lastError: null }),
  })
  const namespace = { idFromName: (name: string) => name, get: target } as unknown as Bindings['DISPATCHER']
  const wake = createDispatchWake(
    { DISPATCHER: namespace, SERVICE_CLOCK: namespace },
    (promise) => void work.push(promise),
    log,
  )
  return { wake, poked, log, settled: () => Promise.all(work) }
}
const id = () => crypto.randomUUID()
const nameOf = (runId: string) => `dispatcher-${dispatcherOf(runId)}`

describe('port:wake adapter:durable-object', () => {
  test('a run that is ready and a command for one poke the dispatcher of the run', async () => {
    const { wake, poked, settled } = openWake()
    const [ready, commanded] = [id(), id()]
    wake.runReady(ready)
    await settled()
    wake.command(commanded)
    await settled()
    expect(poked).toEqual([nameOf(ready), nameOf(commanded)])
  })

  test('a changed schedule pokes the service clock', async () => {
    const { wake, poked, settled } = openWake()
    wake.schedulesChanged()
    await settled()
    expect(poked).toEqual(['service-clock'])
  })

  test('many runs of one dispatcher that become ready together poke it once', async () => {
    const { wake, poked, settled } = openWake()
    const run = id()
    for (let i = 0; i < 100; i++) wake.runReady(run)
    await settled()
    expect(poked).toEqual([nameOf(run)])
  })

  test('what comes while a poke is under way takes another: its rows may be newer', async () => {
    const run = id()
    const { wake, poked, settled } = openWake(async () => {
      if (poked.length === 1) wake.runReady(run)
    })
    wake.runReady(run)
    await settled()
    expect(poked).toEqual([nameOf(run), nameOf(run)])
  })

  test('a poke that fails is logged and hurts nobody', async () => {
    const { wake, log, settled } = openWake(() => Promise.reject(new Error('The object is away.')))
    wake.runReady(id())
    await settled()
    expect(log.lines).toMatchObject([{ level: 'warn', message: expect.stringContaining('cron minute') }])
  })

  test('runs spread over all dispatchers', () => {
    const shards = new Set(Array.from({ length: 2_000 }, () => dispatcherOf(id())))
    expect(shards.size).toBe(shardCount)
  })

  test('nothing is heard here, and leaving is possible all the same', async () => {
    const { wake, settled } = openWake()
    const { heard, stop } = hear(wake)
    wake.runReady(id())
    wake.events(id())
    await settled()
    stop()
    expect(heard).toEqual([])
  })

  test('its probe is well while alarms pass, degraded while they fail, unwell while the clock is away', async () => {
    const probed = async (status: () => Promise<AlarmStatus>) => {
      const clock = { idFromName: (name: string) => name, get: () => ({ status }) }
      const SERVICE_CLOCK = clock as unknown as Bindings['SERVICE_CLOCK']
      const { runtime, close } = openWorkerRuntime({ ...env, SERVICE_CLOCK }, () => {})
      const health = await runtime.probes['wake']!()
      await close()
      return health.status
    }
    const passing = { nextPassAt: null, failures: 0, lastError: null }
    expect(await probed(async () => passing)).toBe('healthy')
    expect(await probed(async () => ({ ...passing, failures: 2, lastError: 'boom' }))).toBe('degraded')
    expect(await probed(() => Promise.reject(new Error('The object is away.')))).toBe('unhealthy')
    expect(await probed(async () => passing)).toBe('healthy')
  })
})
