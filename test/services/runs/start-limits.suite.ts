import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { cancelExecution, getExecution, pauseRun, resumeRun } from '../../../src/services/executions.service.ts'
import { wakeHeldRuns } from '../../../src/services/runs/concurrency/held.ts'
import { passSlots } from '../../../src/services/runs/concurrency/slots.ts'
import { validateDefinition } from '../../../src/services/recipes/validate.ts'
import { gate, http, type EngineDatabase } from '../../support/engine.ts'
import { createLimitBench } from './support-limits.ts'

/** What a further trigger does where there is a limit, a debounce or a throttle. */
export function startLimitsSuite(open: () => Promise<EngineDatabase>): void {
  let database: EngineDatabase
  let db: EngineDatabase['db']
  beforeAll(async () => {
    database = await open()
    db = database.db
  })
  afterAll(() => database.close())

  const bench = () => createLimitBench(database)
  const hold = { id: 'hold', kind: 'wait', duration: '1h' }
  const at = async (seconds: number, work: () => Promise<void>) => {
    await database.shiftClock({ seconds })
    try {
      await work()
    } finally {
      await database.shiftClock({ seconds: 0 })
    }
  }
  const untilMs = async (id: string) => {
    const row = await db.selectFrom('held_runs').select('until').where('run_id', '=', id).executeTakeFirst()
    return row?.until?.getTime() ?? null
  }

  describe('on_conflict', () => {
    test('skip ends what comes beside others at once, and says so', async () => {
      const b = await bench()
      const recipeId = await b.store({ concurrency: { limit: 1, key: '{{ input.k }}', on_conflict: 'skip' } }, [hold])
      const started = await Promise.all([b.start(recipeId, { k: 'a' }), b.start(recipeId, { k: 'a' })])
      expect(started.map(({ status }) => status).toSorted()).toEqual(['canceled', 'queued'])
      const skipped = started.find(({ status }) => status === 'canceled')!.id
      expect(await getExecution(b.ctx, skipped)).toMatchObject({
        status: 'canceled',
        started_at: null,
        error: { kind: 'skipped', detail: expect.stringContaining('with the key a') },
      })
      expect(await b.types(skipped)).toEqual(['queued', 'canceled'])
      expect((await b.start(recipeId, { k: 'b' })).status).toBe('queued')
      await b.work()
      expect((await b.start(recipeId, { k: 'a' })).status).toBe('canceled')
      await b.exact()
    })

    test('skip answers the same run to a repeated request, also when the others have ended since', async () => {
      const b = await bench()
      const recipeId = await b.store({ concurrency: { limit: 1, on_conflict: 'skip' } }, [hold])
      const first = await b.start(recipeId)
      const key = { idempotencyKey: 'once' }
      const skipped = await b.start(recipeId, {}, key)
      await cancelExecution(b.ctx, first.id, 'enough')
      expect(await b.start(recipeId, {}, key)).toMatchObject({ id: skipped.id, status: 'canceled', replayed: true })
    })

    test('cancel_previous lets the newest run, once those before it have ended', async () => {
      const b = await bench()
      const recipeId = await b.store({ concurrency: { limit: 1, on_conflict: 'cancel_previous' } }, [http('only')])
      const never = gate()
      b.script('only', ({ context, count }) =>
        count > 1
          ? {}
          : Promise.race([
              never.opened.then(() => ({})),
              new Promise<never>((_, reject) =>
                context.signal.addEventListener('abort', () => reject(context.signal.reason)),
              ),
            ]),
      )
      const first = await b.execute(recipeId)
      const worker = b.worker()
      await worker.claim()
      const second = await b.execute(recipeId)
      await b.worker('other').claim()
      expect(await b.states(first, second)).toEqual(['running', 'blocked'])
      const third = await b.execute(recipeId)
      expect(await b.states(second)).toEqual(['canceled'])
      await worker.pollInbox()
      await worker.idle()
      await b.work()
      expect(await b.states(first, second, third)).toEqual(['canceled', 'canceled', 'succeeded'])
      expect((await b.run(first)).error).toMatchObject({ kind: 'canceled', detail: expect.stringContaining(second) })
      await b.exact()
    })

    test('cancel_previous lets exactly one of triggers that race go on', async () => {
      const b = await bench()
      const recipeId = await b.store({ concurrency: { limit: 1, on_conflict: 'cancel_previous' } }, [hold])
      const ids = await Promise.all(Array.from({ length: 8 }, () => b.execute(recipeId)))
      await b.work()
      expect((await b.states(...ids)).toSorted()).toEqual([...ids.slice(1).map(() => 'canceled'), 'waiting'])
      await b.exact()
    })

    test('a key without a value is told to who asks', async () => {
      const b = await bench()
      const recipeId = await b.store({ concurrency: { limit: 1, key: '{{ input.customer }}' } })
      await expect(b.start(recipeId, {})).rejects.toMatchObject({
        kind: 'invalid',
        errors: [
          { pointer: '', detail: 'settings.concurrency.key of the recipe: The key has no value for this input.' },
        ],
      })
      await expect(b.start(await b.store({ throttle: { limit: 1, period: '1m', key: { $expr: 'input.a.b' } } })))
        .rejects //
        .toMatchObject({ kind: 'invalid' })
    })
  })

  describe('a debounce', () => {
    test('makes one run of triggers that follow soon upon each other, with the last input', async () => {
      const b = await bench()
      const recipeId = await b.store(
        { debounce: { period: '10s', key: '{{ input.k }}' }, concurrency: { limit: 1, key: '{{ input.n }}' } },
        [{ id: 'n', kind: 'transform', value: { $expr: 'input.n' } }],
      )
      const first = await b.start(recipeId, { k: 'a', n: 1 })
      expect(first).not.toHaveProperty('debounced')
      const firstUntil = await untilMs(first.id)
      await at(5, async () => {
        expect(await b.start(recipeId, { k: 'a', n: 2 })).toMatchObject({ id: first.id, debounced: true })
        expect((await b.start(recipeId, { k: 'b', n: 3 })).id).not.toBe(first.id)
      })
      const moved = (await untilMs(first.id))! - firstUntil!
      expect(moved).toBeGreaterThanOrEqual(5000)
      const shown = await getExecution(b.ctx, first.id)
      expect(shown).toMatchObject({ status: 'queued', input: { k: 'a', n: 2 }, waits_for: { reason: 'debounce' } })
      expect(await b.types(first.id)).toEqual(['queued', 'delayed', 'debounced'])
      await at(11, async () => expect(await wakeHeldRuns(db, 10)).not.toContain(first.id))
      await at(20, async () => expect(await wakeHeldRuns(db, 10)).toContain(first.id))
      await b.work()
      expect(await b.run(first.id)).toMatchObject({ state: 'succeeded', output: 2 })
      const slot = await db.selectFrom('run_slots').select('key').where('run_id', '=', first.id).execute()
      expect(slot).toEqual([{ key: '2' }])
      expect((await b.start(recipeId, { k: 'a', n: 4 })).id).not.toBe(first.id)
    })

    test('ends after max_wait, however many triggers come', async () => {
      const b = await bench()
      const recipeId = await b.store({ debounce: { period: '10s', max_wait: '15s' } })
      const { id } = await b.start(recipeId)
      for (const seconds of [8, 14]) await at(seconds, async () => void (await b.start(recipeId)))
      await at(16, async () => expect(await wakeHeldRuns(db, 10)).toContain(id))
      await b.work()
      expect(await b.states(id)).toEqual(['succeeded'])
    })

    test('answers a repeated request as it did before, and adds nothing', async () => {
      const b = await bench()
      const recipeId = await b.store({ debounce: { period: '10s' } })
      const { id } = await b.start(recipeId, { n: 1 }, { idempotencyKey: 'd-1' })
      expect(await b.start(recipeId, { n: 2 }, { idempotencyKey: 'd-2' })).toMatchObject({ id, debounced: true })
      expect(await b.start(recipeId, { n: 2 }, { idempotencyKey: 'd-2' })).toMatchObject({ id, replayed: true })
      expect(await b.start(recipeId, { n: 1 }, { idempotencyKey: 'd-1' })).toMatchObject({ id, replayed: true })
      await expect(b.start(recipeId, { n: 3 }, { idempotencyKey: 'd-2' })).rejects.toMatchObject({
        kind: 'idempotency-key-reused',
      })
      expect(await b.types(id)).toEqual(['queued', 'delayed', 'debounced'])
      expect((await getExecution(b.ctx, id)).input).toEqual({ n: 2 })
    })

    test('makes one run of triggers that race', async () => {
      const b = await bench()
      const recipeId = await b.store({ debounce: { period: '10s' } })
      const ids = await Promise.all(Array.from({ length: 8 }, (_, n) => b.execute(recipeId, { n })))
      expect(new Set(ids).size).toBe(1)
      expect((await b.types(ids[0]!)).filter((type) => type === 'debounced')).toHaveLength(7)
    })

    test('can be canceled, paused and resumed, and keeps its time', async () => {
      const b = await bench()
      const recipeId = await b.store({ debounce: { period: '10s' } })
      const canceled = await b.execute(recipeId)
      await cancelExecution(b.ctx, canceled, 'enough')
      const id = await b.execute(recipeId)
      expect(id).not.toBe(canceled)
      await pauseRun(b.ctx, id, null)
      await resumeRun(b.ctx, id)
      await b.work()
      expect(await b.states(canceled, id)).toEqual(['canceled', 'queued'])
      await at(11, async () => expect(await wakeHeldRuns(db, 10)).toContain(id))
      await b.work()
      expect(await b.states(id)).toEqual(['succeeded'])
    })
  })

  describe('a throttle', () => {
    test('puts off what is more than its limit in any period, and loses nothing', async () => {
      const b = await bench()
      const recipeId = await b.store({ throttle: { limit: 2, period: '1m' } })
      const ids = await Promise.all(Array.from({ length: 6 }, (_, n) => b.execute(recipeId, { n })))
      const times = (await Promise.all(ids.map(untilMs))).filter((ms) => ms !== null).toSorted((a, c) => a - c)
      // Two start at once, two a minute later, two after another: never three within a minute.
      expect(times).toHaveLength(4)
      expect(times[2]! - times[0]!).toBeGreaterThanOrEqual(60_000)
      expect(times[3]! - times[1]!).toBeGreaterThanOrEqual(60_000)
      await b.work()
      expect((await b.states(...ids)).filter((state) => state === 'succeeded')).toHaveLength(2)
      await at(62, async () => void (await wakeHeldRuns(db, 10)))
      await b.work()
      expect((await b.states(...ids)).filter((state) => state === 'succeeded')).toHaveLength(4)
      await at(124, async () => void (await wakeHeldRuns(db, 10)))
      await b.work()
      expect(await b.states(...ids)).toEqual(ids.map(() => 'succeeded'))
    })

    test('holds for each value of its key alone and shows when a run starts', async () => {
      const b = await bench()
      const recipeId = await b.store({ throttle: { limit: 1, period: '1m', key: '{{ input.k }}' } })
      const [a1, b1, a2] = [
        await b.execute(recipeId, { k: 'a' }),
        await b.execute(recipeId, { k: 'b' }),
        await b.execute(recipeId, { k: 'a' }),
      ]
      await b.work()
      expect(await b.states(a1, b1, a2)).toEqual(['succeeded', 'succeeded', 'queued'])
      const { waits_for } = await getExecution(b.ctx, a2)
      expect(waits_for).toEqual({ reason: 'throttle', until: new Date((await untilMs(a2))!).toISOString() })
      expect(await b.types(a2)).toEqual(['queued', 'delayed'])
    })
  })

  test('settings that make no sense are faults of the recipe', () => {
    const faultsOf = (settings: object) =>
      validateDefinition({ name: 'x', steps: [{ id: 'a', kind: 'transform', value: 1 }], settings }).faults
    expect(faultsOf({ concurrency: { limit: 1, key: '{{ steps.a.output }}' } })).toEqual([
      { pointer: '/settings/concurrency/key', detail: 'may refer to input and trigger only, not to steps' },
    ])
    expect(faultsOf({ concurrency: [{ limit: 1 }, { limit: 2 }] })).toEqual([
      { pointer: '/settings/concurrency', detail: 'takes one limit with a key and one without' },
    ])
    expect(faultsOf({ concurrency: { limit: 0 } })).not.toEqual([])
    expect(faultsOf({ debounce: { period: 'soon' }, throttle: { limit: 1, period: '1m' } })).toEqual([
      { pointer: '/settings/debounce/period', detail: 'must be a duration such as 30s, 5m or 1h30m' },
      { pointer: '/settings/throttle', detail: 'cannot go with a debounce' },
    ])
    expect(faultsOf({ debounce: { period: '1m', max_wait: '30s' } })).toEqual([
      { pointer: '/settings/debounce/max_wait', detail: 'must not be shorter than period' },
    ])
    expect(faultsOf({ concurrency: [{ limit: 5 }, { limit: 1, key: '{{ input.k }}' }], priority: 3 })).toEqual([])
  })

  test('slots are handed on however many notes there are', async () => {
    await sql`insert into freed_slots (counter) select gen_random_uuid() from generate_series(1, 500)`.execute(db)
    for (let round = 0; round < 3; round++) await passSlots(db)
    expect(await db.selectFrom('freed_slots').select('id').execute()).toEqual([])
  })
}
