import { sql } from 'kysely'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { cancelExecution, pauseRun, resumeRun } from '../../../src/services/executions.service.ts'
import { nextWakeInMs } from '../../../src/services/runs/claim.ts'
import { nextHeldInMs, sweepPaused, wakeHeldRuns } from '../../../src/services/runs/concurrency/held.ts'
import { passSlots, reconcileSlots } from '../../../src/services/runs/concurrency/slots.ts'
import { pauseWorkspace } from '../../../src/services/workflows/pause.ts'
import { createTestDatabase } from '../../support/database.ts'
import { http } from '../../support/engine.ts'
import { FaultyLine } from '../../support/faulty-database.ts'
import { createLimitBench } from './support-limits.ts'

// A run that cannot be moved, whatever it is that its row meets: it is tried again after a while, and holds up nobody.

const database = await createTestDatabase()
afterAll(() => database.close())
const { db } = database

beforeAll(async () => {
  // Stands for whatever the server may find wrong with one run.
  await sql`create table poisoned (run_id uuid)`.execute(db)
  await sql`grant select on poisoned to public`.execute(db)
  await sql`
    create function refuse_poisoned() returns trigger language plpgsql as $$
    begin
      if exists (select from poisoned p where p.run_id = new.run_id) then
        raise exception 'poisoned' using errcode = 'XX001';
      end if;
      return new;
    end $$`.execute(db)
  await sql`create trigger refuse_poisoned before insert on run_queue for each row
    execute function refuse_poisoned()`.execute(db)
})
beforeEach(async () => {
  await sql`delete from poisoned`.execute(db)
  await sql`truncate runs cascade`.execute(db)
  await database.shiftClock({ seconds: 0 })
})
const poison = (...ids: string[]) =>
  sql`insert into poisoned select unnest(${`{${ids.join(',')}}`}::uuid[])`.execute(db)
const cure = () => sql`delete from poisoned`.execute(db)

function said() {
  const errors: { run_id?: string | null }[] = []
  return { errors, log: { error: (_: string, fields?: object) => void errors.push(fields ?? {}) } }
}

describe('a start whose time has come and that cannot be moved to the queue', () => {
  test('is put off for a minute, and the others start', async () => {
    const b = await createLimitBench(database)
    const recipeId = await b.store({ debounce: { period: '10s', key: '{{ input.n }}' } })
    const [bad, good, late] = [
      await b.execute(recipeId, { n: 1 }),
      await b.execute(recipeId, { n: 2 }),
      await b.execute(recipeId, { n: 3 }),
    ]
    await poison(bad)
    const { errors, log } = said()
    await database.shiftClock({ seconds: 11 })
    expect((await wakeHeldRuns(db, 10, log)).toSorted()).toEqual([good, late].toSorted())
    expect(errors).toMatchObject([{ run_id: bad }])
    // It is no longer due: no tick comes back for it at once.
    expect(await wakeHeldRuns(db, 10, log)).toEqual([])
    expect(errors).toHaveLength(1)
    expect(await nextHeldInMs(db)).toBeGreaterThan(50_000)
    await b.work()
    expect(await b.states(bad, good, late)).toEqual(['queued', 'succeeded', 'succeeded'])

    await cure()
    await database.shiftClock({ seconds: 75 })
    expect(await wakeHeldRuns(db, 10, log)).toEqual([bad])
    await b.work()
    expect(await b.states(bad)).toEqual(['succeeded'])
  })

  test('because somebody is just changing it is looked at again in a second, not at once', async () => {
    const b = await createLimitBench(database)
    await b.execute(await b.store({ debounce: { period: '10s' } }))
    await database.shiftClock({ seconds: 11 })
    // As the tick finds it that has passed over a row which is locked.
    expect(await nextHeldInMs(db)).toBe(1_000)
    expect(await nextWakeInMs(db)).toBeNull()
  })

  test('because the run was paused meanwhile stays out of the queue', async () => {
    const b = await createLimitBench(database)
    const id = await b.execute(await b.store({ debounce: { period: '10s' } }))
    await pauseRun(b.ctx, id, null)
    await database.shiftClock({ seconds: 11 })
    expect(await wakeHeldRuns(db, 10)).toEqual([])
    expect(await db.selectFrom('run_queue').selectAll().execute()).toEqual([])
    await resumeRun(b.ctx, id)
    await b.work()
    expect(await b.states(id)).toEqual(['succeeded'])
  })

  test('is put off by nobody where it is the database that is away', async () => {
    const away = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })
    const asked: string[] = []
    const gone = new FaultyLine(db, null)
    gone.execute = async (query) => {
      asked.push(query.sql)
      throw away
    }
    await expect(wakeHeldRuns(gone.db, 10)).rejects.toBe(away)
    await expect(passSlots(gone.db)).rejects.toBe(away)
    expect(asked).toHaveLength(2)
  })
})

test('what the end of a pause cannot give back to the queue holds up nothing else, and comes back by itself', async () => {
  const b = await createLimitBench(database)
  const recipeId = await b.store({})
  const [bad, good] = [await b.execute(recipeId), await b.execute(recipeId)]
  await pauseWorkspace(b.ctx, null)
  await sweepPaused(db)
  await sql`delete from workspace_pauses`.execute(db)
  await poison(bad)
  const { errors, log } = said()
  expect(await sweepPaused(db, log)).toEqual([good])
  expect(await sweepPaused(db, log)).toEqual([])
  expect(errors).toMatchObject([{ run_id: bad }])
  await cure()
  await database.shiftClock({ seconds: 61 })
  expect(await wakeHeldRuns(db, 10)).toEqual([bad])
  await b.work()
  expect(await b.states(bad, good)).toEqual(['succeeded', 'succeeded'])
})

describe('a slot that cannot be handed to the first in line', () => {
  /** A limit whose slots are all held by runs that wait, and runs that stand in its line. */
  async function line(limit: number, waiting: number) {
    const b = await createLimitBench(database)
    const hold = { id: 'hold', kind: 'wait', duration: '1h', when: 'input.holds' }
    const recipeId = await b.store({ concurrency: { limit } }, [hold, http('only')])
    const start = async (count: number, holds: boolean) => {
      const ids: string[] = []
      for (let n = 0; n < count; n++) ids.push(await b.execute(recipeId, { holds }))
      await b.worker().claim()
      return ids
    }
    const holders = await start(limit, true)
    await expect.poll(() => b.states(...holders)).toEqual(holders.map(() => 'waiting'))
    const ids = await start(waiting, false)
    expect(await b.states(...ids)).toEqual(ids.map(() => 'blocked'))
    return {
      ...b,
      ids,
      /** The slots become free, and nobody has handed them on. */
      async free() {
        for (const id of holders) await cancelExecution(b.ctx, id, 'enough')
      },
    }
  }

  test('goes to the next; the first is tried again later and later, and gets its own in the end', async () => {
    const b = await line(1, 3)
    const [bad, second, third] = b.ids as [string, string, string]
    await poison(bad)
    await b.free()
    const { errors, log } = said()
    let nowMs = 0
    const clock = { now: () => new Date(), monotonicMs: () => nowMs }
    // Whoever ends a run hands its slot on as well.
    b.ctx.clock = clock
    b.ctx.log = { ...b.ctx.log, error: log.error }
    const pass = () => passSlots(db, { log, clock })
    expect(await pass()).toEqual([second])
    await b.exact()
    const worker = b.worker()
    for (let turn = 0; turn < 3; turn++) {
      await worker.claim()
      await worker.idle()
      await b.exact()
    }
    expect(await b.states(bad, second, third)).toEqual(['blocked', 'succeeded', 'succeeded'])
    expect(errors).toMatchObject([{ run_id: bad }])
    // Its slot is not lost: the note stays, and nothing is left for the look that puts things right.
    expect((await sql`select from freed_slots`.execute(db)).rows.length).toBeGreaterThan(0)
    expect(await reconcileSlots(db)).toMatchObject({ mended: 0 })

    const pauses: number[] = []
    for (let last = 0; pauses.length < 8; nowMs += 500) {
      const before = errors.length
      expect(await pass()).toEqual([])
      if (errors.length === before) continue
      pauses.push(nowMs - last)
      last = nowMs
    }
    expect(pauses).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000])

    await cure()
    nowMs += 60_000
    expect(await pass()).toEqual([bad])
    await worker.claim()
    await worker.idle()
    expect(await b.states(bad)).toEqual(['succeeded'])
    await pass()
    expect((await sql`select from freed_slots`.execute(db)).rows).toEqual([])
  })

  test('does not stop the lines of others, nor of its own what there is room for', async () => {
    const b = await line(2, 3)
    const other = await line(1, 1)
    const [bad, second, third] = b.ids as [string, string, string]
    await poison(bad)
    await b.free()
    await other.free()
    const { log } = said()
    expect((await passSlots(db, { log })).toSorted()).toEqual([second, third, ...other.ids].toSorted())
    expect(await b.states(bad)).toEqual(['blocked'])
    await b.exact()
    await b.work()
    expect(await b.states(second, third, ...other.ids)).toEqual(['succeeded', 'succeeded', 'succeeded'])
    await b.exact()
  })

  test('is there for who comes back to it later, whatever has become of the first try', async () => {
    const b = await line(1, 1)
    const [bad] = b.ids as [string]
    await poison(bad)
    await b.free()
    expect(await passSlots(db)).toEqual([])
    await cure()
    expect(await passSlots(db)).toEqual([])
    expect(await passSlots(db, { clock: { monotonicMs: () => performance.now() + 1_000 } })).toEqual([bad])
  })

  test.each([
    ['is noted behind them', false],
    ['was noted before them, in a commit that comes later', true],
  ])('that becomes free while the notes of others are put away is handed on as well: it %s', async (_, isEarlier) => {
    const b = await line(1, 2)
    const [bad, second] = b.ids as [string, string]
    await poison(bad)
    const next = sql<{ id: string }>`select nextval(pg_get_serial_sequence('freed_slots', 'id'))::text as id`
    const earlier = (await next.execute(db)).rows[0]!.id
    await b.free()
    let nowMs = 0
    const onLine = new FaultyLine(db, null)
    const pass = () => passSlots(onLine.db, { clock: { monotonicMs: () => nowMs } })
    expect(await pass()).toEqual([second])
    const execute = onLine.execute.bind(onLine)
    let noted = false
    onLine.execute = async (query) => {
      if (query.sql.includes('delete from freed_slots where counter')) {
        noted = true
        const id = isEarlier ? earlier : (await next.execute(db)).rows[0]!.id
        await sql`insert into freed_slots (id, counter) overriding system value
          select ${id}::text::bigint, counter from run_slots where run_id = ${bad}`.execute(db)
      }
      return execute(query)
    }
    nowMs = 1_000
    expect(await pass()).toEqual([])
    expect(noted).toBe(true)
    expect((await sql`select from freed_slots`.execute(db)).rows).toHaveLength(1)
  })
})
