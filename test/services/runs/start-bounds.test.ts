import { sql, type KyselyPlugin } from 'kysely'
import { afterAll, describe, expect, test } from 'vitest'
import { onceMore } from '../../../src/db/once-more.ts'
import { uuidv7 } from '../../../src/lib/ids.ts'
import type { Json } from '../../../src/lib/json.ts'
import { linesOf, lockLines } from '../../../src/services/runs/concurrency/admit.ts'
import { cancelCrowded } from '../../../src/services/runs/concurrency/conflicts.ts'
import { startPolicy } from '../../../src/services/runs/concurrency/policy.ts'
import { insertRuns, type NewRun } from '../../../src/services/runs/create-run.ts'
import { createTestDatabase } from '../../support/database.ts'
import { createLimitBench } from './support-limits.ts'

// What one transaction of a start may cost, however much there is behind it.
const database = await createTestDatabase()
const { db } = database
afterAll(() => database.close())
const b = await createLimitBench(database)

const anId = () => uuidv7()
/** Runs as a schedule makes them: nobody waits for an answer. */
function runsOf(recipeId: string, settings: object, count: number, inputs: (n: number) => Json = () => ({})): NewRun[] {
  return Array.from({ length: count }, anId)
    .toSorted()
    .map((id, n) => {
      const [trigger, input] = [{ kind: 'schedule' }, inputs(n)]
      const policy = { ...startPolicy(settings as never, recipeId, { input, trigger })!, answered: false }
      return { id, workspaceId: b.ctx.actor.workspaceId, recipeId, recipeVersion: 1, trigger, input, policy }
    })
}
const statesOf = async (runs: NewRun[]) => b.states(...runs.map(({ id }) => id))
const countOf = (states: (string | undefined)[], state: string) => states.filter((each) => each === state).length

test('lines share a bounded number of locks, however many a transaction decides about', async () => {
  const lines = Array.from({ length: 3_000 }, anId)
  const held = await db.transaction().execute(async (tx) => {
    await lockLines(tx, lines)
    const { rows } = await sql<{ count: number }>`
      select count(*)::integer as count from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()`.execute(
      tx,
    )
    return rows[0]!.count
  })
  expect(held).toBeGreaterThan(900)
  expect(held).toBeLessThanOrEqual(1_024)
})

test('a hundred runs under limit and throttle take as many statements as forty', async () => {
  const settings = {
    concurrency: { limit: 1, key: '{{ input.n }}', on_conflict: 'skip' },
    throttle: { limit: 9, period: '1m' },
  }
  const recipeId = await b.store(settings)
  let statements = 0
  const counting: KyselyPlugin = {
    transformQuery: ({ node }) => ((statements += 1), node),
    transformResult: async ({ result }) => result,
  }
  const costOf = async (count: number) => {
    statements = 0
    // Half of them come beside the other half.
    const runs = runsOf(recipeId, settings, count, (n) => ({ n: `${count}/${n % (count / 2)}` }))
    const { skipped } = await insertRuns(db.withPlugin(counting), runs)
    expect(skipped.size).toBe(count / 2)
    return statements
  }
  expect(await costOf(40)).toBe(await costOf(100))
})

describe('cancel_previous', () => {
  const latest = { concurrency: { limit: 2, on_conflict: 'cancel_previous' } }
  const queue = { concurrency: { limit: 2 } }

  test('cancels a hundred at once and leaves the others to a tick, which stops at those that may stay', async () => {
    const recipeId = await b.store(latest)
    const backlog = runsOf(recipeId, queue, 150)
    await insertRuns(db, backlog)
    const [newest] = runsOf(recipeId, latest, 1)
    await insertRuns(db, [newest!])
    const later = runsOf(recipeId, queue, 3)
    await insertRuns(db, later)
    expect(countOf(await statesOf(backlog), 'canceled')).toBe(100)
    let passes = 0
    while (await cancelCrowded(b.ctx)) passes += 1
    expect(passes).toBe(1)
    const states = await statesOf(backlog)
    expect([countOf(states, 'canceled'), states.at(-1)]).toEqual([149, 'queued'])
    expect(await statesOf([newest!, ...later])).toEqual(['queued', 'queued', 'queued', 'queued'])
    expect(await db.selectFrom('crowded_slots').selectAll().execute()).toEqual([])
    await b.exact()
  })

  test('cancels the oldest, whatever its id', async () => {
    const recipeId = await b.store(latest)
    const [low, high, newest] = runsOf(recipeId, latest, 3)
    await insertRuns(db, [high!])
    await sql`update runs set created_at = created_at - interval '1 minute' where id = ${high!.id}`.execute(db)
    await insertRuns(db, [low!])
    await insertRuns(db, [newest!])
    expect(await statesOf([low!, high!, newest!])).toEqual(['queued', 'canceled', 'queued'])
  })

  test('locks what ends in one order over all limits and schedules of a call', async () => {
    const one = { concurrency: { limit: 1, on_conflict: 'cancel_previous' } }
    const recipes = [await b.store(one), await b.store(one), await b.store({})]
    const [first, second, ending] = recipes.map((recipeId) => runsOf(recipeId, one, 1)[0]!)
    const ids = [anId(), anId(), anId()].toSorted()
    // The first run of the call takes the place of the youngest.
    ;[ending!.id, second!.id, first!.id] = ids as [string, string, string]
    await insertRuns(db, [first!, second!, ending!])
    const next = recipes.slice(0, 2).flatMap((recipeId) => runsOf(recipeId, one, 1))
    const { ended } = await insertRuns(db, next, new Map([[ending!.id, 'A later slot.']]))
    expect(ended).toEqual(ids)
    expect((await b.run(ending!.id)).error).toMatchObject({ detail: 'A later slot.' })
    expect((await b.run(first!.id)).error).toMatchObject({ detail: expect.stringContaining(next[0]!.id) })
  })
})

describe('a throttle', () => {
  test('has no places beyond a year: who asks is told so, and a run that nobody waits for fails with the reason', async () => {
    const settings = { throttle: { limit: 1, period: '300d' } }
    const recipeId = await b.store(settings)
    await b.start(recipeId)
    await b.start(recipeId)
    const before = await db.selectFrom('runs').select('id').where('recipe_id', '=', recipeId).execute()
    await expect(b.start(recipeId)).rejects.toMatchObject({
      kind: 'rate-limited',
      headers: { 'retry-after': expect.stringMatching(/^[1-9]\d*$/) },
    })
    expect(await db.selectFrom('runs').select('id').where('recipe_id', '=', recipeId).execute()).toEqual(before)
    const [scheduled] = runsOf(recipeId, settings, 1)
    await insertRuns(db, [scheduled!])
    expect(await b.run(scheduled!.id)).toMatchObject({ state: 'failed', error: { kind: 'throttled' } })
    expect(await b.types(scheduled!.id)).toEqual(['queued', 'failed'])
  })

  test('gives many runs of a call the places that it would give one after the other', async () => {
    const settings = { throttle: { limit: 3, period: '1m' } }
    const placesOf = async (...calls: number[]) => {
      const recipeId = await b.store(settings)
      const runs = calls.map((count) => runsOf(recipeId, settings, count))
      await db.transaction().execute(async (tx) => {
        for (const call of runs) await insertRuns(tx, call)
      })
      const { rows } = await sql<{ id: string; minutes: number }>`
        select r.id, round(extract(epoch from coalesce(h.until, r.created_at) - r.created_at) / 60)::integer as minutes
        from runs r left join held_runs h on h.run_id = r.id where r.recipe_id = ${recipeId}`.execute(db)
      return runs.flat().map(({ id }) => rows.find((row) => row.id === id)?.minutes)
    }
    const expected = [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    for (const calls of [[12], [1, 11], [2, 1, 7, 2], Array.from({ length: 12 }, () => 1)])
      expect(await placesOf(...calls)).toEqual(expected)
  })
})

describe('a debounce', () => {
  test.each(['skip', 'cancel_previous'])('with a further trigger comes under %s by its new input', async (policy) => {
    const recipeId = await b.store({
      debounce: { period: '10s', key: '{{ input.k }}' },
      concurrency: { limit: 1, key: '{{ input.n }}', on_conflict: policy },
    })
    const first = await b.start(recipeId, { k: 'a', n: 1 })
    const other = await b.start(recipeId, { k: 'b', n: 2 })
    const joined = await b.start(recipeId, { k: 'a', n: 2 })
    const [ended, stays] = policy === 'skip' ? [first, other] : [other, first]
    expect(joined).toMatchObject({ id: first.id, status: ended === first ? 'canceled' : 'queued', debounced: true })
    expect(await b.states(ended.id, stays.id)).toEqual(['canceled', 'queued'])
    await b.exact()
  })
})

describe('a transaction that the server ends for the sake of another', () => {
  test('is done once more, and its second fault is told', async () => {
    const deadlock = Object.assign(new Error('deadlock detected'), { code: '40P01' })
    let times = 0
    const work = (faults: number) => onceMore(async () => (++times <= faults ? Promise.reject(deadlock) : 'done'))
    expect([await work(1), times]).toEqual(['done', 2])
    times = 0
    await expect(work(2)).rejects.toBe(deadlock)
    await expect(onceMore(() => Promise.reject(new Error('other')))).rejects.toThrow('other')
  })

  test('starts its run all the same', async () => {
    const recipeId = await b.store({ throttle: { limit: 1, period: '1m' } })
    await sql`create sequence refusals`.execute(db)
    await sql`
      create function refuse_first() returns trigger language plpgsql as $$
        begin
          if nextval('refusals') = 1 then
            raise exception 'deadlock detected' using errcode = '40P01';
          end if;
          return new;
        end
      $$`.execute(db)
    await sql`create trigger refuse_first before insert on runs for each row execute function refuse_first()`.execute(
      db,
    )
    try {
      expect((await b.start(recipeId)).status).toBe('queued')
    } finally {
      await sql`drop trigger refuse_first on runs`.execute(db)
    }
  })
})

test('a line that decides is locked, one that only queues is not', () => {
  const [deciding, queuing] = [{ concurrency: { limit: 1, on_conflict: 'skip' } }, { concurrency: { limit: 1 } }]
  const lines = (settings: object) => linesOf(startPolicy(settings as never, anId(), { input: {}, trigger: {} })!)
  expect([lines(deciding).length, lines(queuing).length]).toEqual([1, 0])
})
