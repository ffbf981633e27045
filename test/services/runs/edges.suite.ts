import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { writeCheckpoints } from '../../../src/services/runs/checkpoint.ts'
import { claimRuns, recoverRuns, wakeDueRuns } from '../../../src/services/runs/claim.ts'
import { requestCancel } from '../../../src/services/runs/commands.ts'
import { uuidv7 } from '../../../src/lib/ids.ts'
import { StepError } from '../../../src/services/runs/step-executor.ts'
import { createEngineBench, gate, http, recipe, type EngineDatabase } from '../../support/engine.ts'
import { FaultyLine } from '../../support/faulty-database.ts'

/** Where two things happen at once, or one happens too late. */
export function edgesSuite(open: () => Promise<EngineDatabase>): void {
  let database: EngineDatabase
  let db: EngineDatabase['db']
  beforeAll(async () => {
    database = await open()
    db = database.db
  })
  afterAll(() => database.close())
  const bench = () => createEngineBench(database)
  const later = async (seconds: number, work: () => Promise<void>) => {
    await database.shiftClock({ seconds })
    try {
      await work()
    } finally {
      await database.shiftClock({ seconds: 0 })
    }
  }
  const statuses = (steps: Record<string, { status: string }>) =>
    Object.fromEntries(Object.entries(steps).map(([path, step]) => [path, step.status]))

  test('a worker that claims again a run it had lost keeps hold of it when the first attempt ends', async () => {
    const b = await bench()
    const stuck = [gate(), gate()]
    const reached = [gate(), gate()]
    b.script('slow', async ({ count }) => {
      reached[count - 1]!.open()
      await stuck[count - 1]!.opened
      return { count }
    })
    const id = await b.start(recipe([http('slow'), http('after')]))
    const worker = b.worker()
    await worker.claim()
    await reached[0]!.opened
    await later(31, async () => {
      expect(await recoverRuns(db, 10)).toBe(1)
      await worker.claim()
      await reached[1]!.opened
      stuck[0]!.open()
      await expect.poll(() => worker.inFlight).toBe(1)
      expect(await db.transaction().execute((tx) => requestCancel(tx, id, 'enough'))).toBe('left-for-owner')
      expect(await worker.pollInbox()).toBe(1)
      await worker.idle()
    })
    expect(await b.run(id)).toMatchObject({ state: 'canceled' })
    expect(statuses(await b.steps(id))).toEqual({ slow: 'canceled' })
  })

  test('a stored checkpoint is no proof of ownership once the run was taken back', async () => {
    const b = await bench()
    const id = await b.start(recipe([http('only')]))
    const { runs } = await claimRuns(db, 'me', 10, null)
    const run = runs.find((each) => each.id === id)!
    const checkpoint = {
      id: uuidv7(),
      runId: id,
      fence: run.fence,
      rev: run.rev,
      steps: [],
      calls: [],
      events: [],
      usage: [],
      totals: null,
      leaving: null,
      waits: [],
      applied: [],
      progress: false,
    }
    expect((await writeCheckpoints(db, [checkpoint])).get(id)).toMatchObject({ state: 'running' })
    // The acknowledgement was lost: the same one again is written once and counts as written.
    expect((await writeCheckpoints(db, [checkpoint])).get(id)).toMatchObject({ state: 'running' })
    await later(31, async () => {
      await recoverRuns(db, 10)
      expect((await writeCheckpoints(db, [checkpoint])).has(id)).toBe(false)
    })
  })

  test('a run that times out while it waits leaves no step waiting', async () => {
    const b = await bench()
    const id = await b.start(
      recipe([http('before'), { id: 'pause', kind: 'wait', duration: '2h' }], { settings: { timeout: '1m' } }),
    )
    const worker = b.worker()
    await worker.claim()
    await worker.idle()
    await later(90, async () => {
      await wakeDueRuns(db, 10)
      await worker.claim()
      await worker.idle()
    })
    expect(await b.run(id)).toMatchObject({ state: 'timed_out' })
    expect(statuses(await b.steps(id))).toEqual({ before: 'succeeded', pause: 'canceled' })
  })

  test('results that the database refuses fail the run, however its steps take errors', async () => {
    const b = await bench()
    b.script('odd', ({ context }) => {
      const unknownStatus = 'nonsense' as never
      context.usage({ ...oneCall, status: unknownStatus }, null)
      return {}
    })
    const id = await b.start(recipe([http('odd'), http('next', { on_error: 'continue' }), http('last')]))
    const worker = b.worker()
    await worker.claim()
    await worker.idle()
    expect(await b.run(id)).toMatchObject({ state: 'failed', error: { kind: 'internal' } })
    expect(statuses(await b.steps(id))).toEqual({ odd: 'canceled', next: 'canceled' })
    expect(b.calls.map((call) => call.step)).toEqual(['odd'])
  })

  test('a step that a goto passes over is a visit of its own', async () => {
    const b = await bench()
    const down = () => {
      throw new StepError('upstream', 'down', { retryable: false })
    }
    b.script('b', ({ count }) => (count === 2 ? down() : {}))
    b.script('d', ({ count }) => (count === 1 ? down() : {}))
    const id = await b.start(
      recipe([http('a'), http('b', { on_error: { goto: 'd' } }), http('c'), http('d', { on_error: { goto: 'a' } })]),
    )
    const worker = b.worker()
    await worker.claim()
    await worker.idle()
    // What the first round's `c` gave stays; the second round passed it over.
    expect(statuses(await b.steps(id))).toMatchObject({ c: 'succeeded', 'c~2': 'skipped', 'd~2': 'succeeded' })
  })

  test('an attempt that was given up changes nothing any more', async () => {
    const b = await bench()
    const overdue = gate()
    const done = gate()
    b.script('slow', async ({ context }) => {
      await overdue.opened
      context.setState({ late: true })
      context.emit('text.delta', { text: 'late' })
      done.open()
      return {}
    })
    b.script('after', async () => {
      overdue.open()
      await done.opened
      return {}
    })
    const id = await b.start(recipe([http('slow', { timeout: '5ms', on_error: 'continue' }), http('after')]))
    const worker = b.worker()
    await worker.claim()
    await worker.idle()
    expect(await b.run(id)).toMatchObject({ state: 'succeeded' })
    expect(statuses(await b.steps(id))).toEqual({ slow: 'failed', after: 'succeeded' })
    expect((await b.events(id)).map((event) => event.type)).not.toContain('text.delta')
  })

  test('a long foreach without effects gives way to what else happens meanwhile', async () => {
    const b = await bench()
    const worker = b.worker()
    // Nothing after this step waits for the database, so only a run that gives way hears of it before its end.
    b.script('before', () => {
      setTimeout(() => worker.stopStarting())
      return {}
    })
    const double = { id: 'double', kind: 'transform', value: { $expr: 'item * 2' } }
    const each = { id: 'each', kind: 'foreach', items: { $expr: 'input.items' }, as: 'item', steps: [double] }
    const id = await b.start(recipe([http('before'), each]), { items: Array.from({ length: 1_000 }, (_, n) => n) })
    await worker.claim()
    await worker.idle()
    expect(await b.run(id)).toMatchObject({ state: 'queued' })
    const next = b.worker('next')
    await next.claim()
    await next.idle()
    expect(((await b.run(id)).output as number[]).at(-1)).toBe(1_998)
    expect(b.calls).toHaveLength(1)
  })

  test('a claim that is never answered does not keep the worker from claiming again', async () => {
    const b = await bench()
    const line = new FaultyLine(db, null)
    line.swallows = () => true
    const worker = b.worker('worker', { db: line.db })
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    try {
      const unanswered = expect(worker.claim()).rejects.toThrow('did not answer')
      await vi.advanceTimersByTimeAsync(15_000)
      await unanswered
    } finally {
      vi.useRealTimers()
    }
    line.swallows = () => false
    const id = await b.start(recipe([http('only')]))
    await worker.claim()
    await worker.idle()
    expect(await b.run(id)).toMatchObject({ state: 'succeeded' })
  })

  test('a run that cannot be written holds up no other', async () => {
    const b = await bench()
    const line = new FaultyLine(db, null)
    const blocked = await b.start(recipe([http('one'), http('two')]))
    const free = await b.start(recipe([http('one'), http('two')]))
    let refusing = true
    line.refuses = (query) =>
      refusing && query.sql.includes('with batch') && JSON.stringify(query.parameters).includes(blocked)
    const worker = b.worker('worker', { db: line.db })
    await worker.claim()
    await expect.poll(async () => (await b.run(free)).state, { timeout: 15_000 }).toBe('succeeded')
    expect(await b.run(blocked)).toMatchObject({ state: 'running' })
    refusing = false
    await worker.idle()
    expect(await b.run(blocked)).toMatchObject({ state: 'succeeded' })
  })
}

const oneCall = {
  provider: 'x',
  model: 'y',
  status: 'ok',
  error: null,
  input_tokens: 1,
  cached_input_tokens: null,
  output_tokens: 1,
  reasoning_tokens: null,
  cost_usd: null,
  price: null,
  latency_ms: 1,
  simulated: false,
} as const
