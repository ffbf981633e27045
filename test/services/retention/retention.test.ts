import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { jsonb } from '../../../src/db/json.ts'
import { uuidv7 } from '../../../src/lib/ids.ts'
import { insertRuns } from '../../../src/services/runs/create-run.ts'
import { notedBlobs } from '../../../src/services/files/run-blobs.ts'
import { filesService } from '../../../src/services/files.service.ts'
import { getRetention, retentionService, updateRetention } from '../../../src/services/retention.service.ts'
import { ledgerBegins } from '../../../src/services/retention/expire-ledger.ts'
import { createMemoryBlobs } from '../../../src/runtime/memory-blobs.ts'
import { databaseForTest, type TestDatabase } from '../../support/database.ts'
import { createServiceContext } from '../../support/service-context.ts'

const day = 86_400

async function setUp(database?: TestDatabase) {
  const own = database ?? (await databaseForTest())
  const ctx = { ...(await createServiceContext(own)), blobs: createMemoryBlobs() }
  const { db } = own
  const workspaceId = ctx.actor.workspaceId
  const recipeId = uuidv7()
  await db
    .insertInto('workflow_recipes')
    .values({ id: recipeId, workspace_id: workspaceId, slug: `r-${recipeId}`, name: 'R', version: 1 } as never)
    .execute()
  /** A run that ended now, by the clock of the database. */
  const aRun = async (state = 'failed', more: { stateKey?: string; parentRunId?: string } = {}) => {
    const id = uuidv7()
    const common = {
      workspaceId,
      recipeId: more.stateKey ? recipeId : null,
      recipeVersion: null,
      trigger: {},
      input: {},
    }
    await insertRuns(db, [{ ...common, ...more, id, definition: { name: 'Nothing', steps: [] } }])
    await sql`update runs set state = ${state}, finished_at = case when ${state} in ('waiting', 'queued') then null else app_now() end
      where id = ${id}`.execute(db)
    await sql`delete from run_queue where run_id = ${id}`.execute(db)
    await sql`insert into run_steps (run_id, path, parent, ordinal, step_id, kind, status)
      values (${id}, 'a', '', 1, 'a', 'http', 'succeeded')`.execute(db)
    return id
  }
  const runs = async () => {
    const rows = await db.selectFrom('runs').select('id').where('workspace_id', '=', workspaceId).execute()
    return rows.map(({ id }) => id).toSorted()
  }
  const aSchedule = async () => {
    const id = uuidv7()
    await sql`insert into schedules (id, workspace_id, recipe_id, name, cron, anchor_at, timezone, misfire, overlap, dst)
      values (${id}, ${workspaceId}, ${recipeId}, ${id}, '0 7 * * *', app_now(), 'UTC', ${jsonb({ policy: 'skip' })}, 'allow', ${jsonb({})})`.execute(
      db,
    )
    return id
  }
  const aSlot = (schedule: string, daysAgo: number, status = 'fired') =>
    sql`insert into schedule_slots (schedule_id, slot_at, workspace_id, status)
      values (${schedule}, app_now() - ${daysAgo}::integer * interval '1 day', ${workspaceId}, ${status})`.execute(db)
  const slots = async () =>
    (await db.selectFrom('schedule_slots').select('status').where('workspace_id', '=', workspaceId).execute()).map(
      ({ status }) => status,
    )
  const drain = async () => {
    for (let pass = 0; pass < 20; pass++) if (!(await retentionService.tick(ctx)).more) return
    throw new Error('The tick never came to an end.')
  }
  return { recipeId, database: own, db, ctx, workspaceId, aRun, runs, aSchedule, aSlot, slots, drain }
}

test('ended runs go with all that is theirs when their days are over; others stay', async () => {
  const { database, db, ctx, aRun, runs, drain } = await setUp()
  const old = await aRun('succeeded')
  const key = `runs/${ctx.actor.workspaceId}/${old}/value.json`
  await notedBlobs(ctx).put(key, new Uint8Array([1]))
  const open = [await aRun('waiting'), await aRun('queued')]
  await database.shiftClock({ seconds: 60 * day })
  const young = await aRun('canceled')
  await drain()
  expect(await runs()).toEqual([old, ...open, young].toSorted())
  await database.shiftClock({ seconds: 90 * day + 60 })
  await drain()
  expect(await runs()).toEqual([...open, young].toSorted())
  expect(await db.selectFrom('run_steps').select('run_id').where('run_id', '=', old).execute()).toEqual([])
  expect(await db.selectFrom('run_events').select('run_id').where('run_id', '=', old).execute()).toEqual([])
  await filesService.tick(ctx)
  expect(await ctx.blobs.get(key)).toBeNull()
  expect((await getRetention(ctx)).deleted.executions).toEqual({ count: 1, last_deleted_at: expect.any(String) })
})

test('each workspace has days of its own; 0 keeps for ever, null is the default', async () => {
  const short = await setUp()
  const { database } = short
  const [forever, standard] = [await setUp(database), await setUp(database)]
  await updateRetention(short.ctx, { executions_days: 1 }, null)
  await updateRetention(forever.ctx, { executions_days: 0 }, null)
  const kept = { forever: await forever.aRun(), standard: await standard.aRun() }
  await short.aRun()
  await database.shiftClock({ seconds: 2 * day })
  await short.drain()
  expect(await short.runs()).toEqual([])
  expect(await standard.runs()).toEqual([kept.standard])
  await database.shiftClock({ seconds: 91 * day })
  await short.drain()
  expect(await standard.runs()).toEqual([])
  expect(await forever.runs()).toEqual([kept.forever])
  expect((await updateRetention(forever.ctx, { executions_days: null }, null)).days.executions_days).toBe(90)
  await short.drain()
  expect(await forever.runs()).toEqual([])
})

test('the last success of a state key stays, for it is what previous shows', async () => {
  const { database, aRun, runs, drain } = await setUp()
  await aRun('succeeded', { stateKey: 'a' })
  await database.shiftClock({ seconds: day })
  const last = await aRun('succeeded', { stateKey: 'a' })
  await aRun('failed', { stateKey: 'a' })
  const lastOfB = await aRun('succeeded', { stateKey: 'b' })
  await database.shiftClock({ seconds: 200 * day })
  await drain()
  expect(await runs()).toEqual([last, lastOfB].toSorted())
})

test('a parent stays while a child of it is open, and a run whose end is not told yet stays', async () => {
  const { database, db, aRun, runs, drain } = await setUp()
  const parent = await aRun('failed')
  const child = await aRun('waiting', { parentRunId: parent })
  const untold = await aRun('failed')
  await sql`update runs set announced_generation = 0 where id = ${untold}`.execute(db)
  await database.shiftClock({ seconds: 200 * day })
  await drain()
  expect(await runs()).toEqual([parent, child, untold].toSorted())
  await sql`update runs set state = 'canceled', finished_at = app_now() - interval '100 days' where id = ${child}`.execute(
    db,
  )
  await sql`update runs set announced_generation = 1 where id = ${untold}`.execute(db)
  await drain()
  expect(await runs()).toEqual([])
})

test('a child stays with its values while its parent is open, paused for a year or not', async () => {
  const { database, aRun, runs, drain } = await setUp()
  const parent = await aRun('waiting')
  const child = await aRun('succeeded', { parentRunId: parent })
  await database.shiftClock({ seconds: 365 * day })
  await drain()
  expect(await runs()).toEqual([parent, child].toSorted())
})

test('days are counted from the end of a run, however long it took', async () => {
  const { database, db, aRun, runs, drain } = await setUp()
  const long = await aRun('waiting')
  await database.shiftClock({ seconds: 200 * day })
  await sql`update runs set state = 'canceled', finished_at = app_now() where id = ${long}`.execute(db)
  await drain()
  expect(await runs()).toEqual([long])
  await database.shiftClock({ seconds: 291 * day })
  await drain()
  expect(await runs()).toEqual([])
})

test('a run stays while a workflow, a replay or a backfill has not taken up its end', async () => {
  const { database, db, recipeId, workspaceId, aRun, aSchedule, runs, drain } = await setUp()
  const [awaited, replayed, filled] = [await aRun(), await aRun(), await aRun()]
  const [workflow, replay, backfill, schedule] = [uuidv7(), uuidv7(), uuidv7(), await aSchedule()]
  await sql`insert into workflows (id, workspace_id, name, goal, approval, state, run_id, created_by)
    values (${workflow}, ${workspaceId}, 'W', 'G', 'auto', 'running', ${awaited}, 'x')`.execute(db)
  await sql`insert into replays (id, workspace_id, recipe_id, recipe_version, call_models, total, request_hash)
    values (${replay}, ${workspaceId}, ${recipeId}, 1, false, 1, 'x')`.execute(db)
  await sql`insert into replay_runs (replay_id, run_id, workspace_id, ordinal)
    values (${replay}, ${replayed}, ${workspaceId}, 1)`.execute(db)
  await sql`insert into schedule_backfills (id, workspace_id, schedule_id, state, from_at, to_at, concurrency, slots, cursor_at)
    values (${backfill}, ${workspaceId}, ${schedule}, 'running', app_now(), app_now(), 1, 1, app_now())`.execute(db)
  await sql`insert into schedule_backfill_runs (backfill_id, run_id, slot_at)
    values (${backfill}, ${filled}, app_now())`.execute(db)
  await database.shiftClock({ seconds: 200 * day })
  await drain()
  expect(await runs()).toEqual([awaited, replayed, filled].toSorted())
  await sql`update workflows set state = 'failed'`.execute(db)
  await drain()
  expect(await runs()).toEqual([replayed, filled].toSorted())
  await sql`update replay_runs set state = 'compared'`.execute(db)
  await sql`delete from schedule_backfill_runs`.execute(db)
  await drain()
  expect(await runs()).toEqual([])
})

test('a pass is bounded by what hangs on the runs, and passes come to an end', async () => {
  const { database, db, ctx, aRun, runs } = await setUp()
  const ids = [await aRun(), await aRun(), await aRun()]
  await sql`update runs set last_seq = 15000`.execute(db)
  await database.shiftClock({ seconds: 200 * day })
  const left = []
  for (let pass = 0; pass < 4; pass++) {
    const { more } = await retentionService.tick(ctx)
    left.push([(await runs()).length, more])
  }
  expect(left).toEqual([
    [2, true],
    [1, true],
    [0, true],
    [0, false],
  ])
  expect(ids).toHaveLength(3)
})

test('two processes at once delete each run once, and count it once', async () => {
  const { database, ctx, aRun, runs } = await setUp()
  for (let n = 0; n < 10; n++) await aRun()
  await database.shiftClock({ seconds: 200 * day })
  await Promise.all([1, 2, 3].map(() => retentionService.tick(ctx)))
  await retentionService.tick(ctx)
  expect(await runs()).toEqual([])
  expect((await getRetention(ctx)).deleted.executions.count).toBe(10)
})

test('old slots leave the ledger, but not those that wait, nor under a backfill', async () => {
  const { db, workspaceId, aSchedule, aSlot, slots, drain, ctx } = await setUp()
  const [plain, filling] = [await aSchedule(), await aSchedule()]
  await aSlot(plain, 100)
  await aSlot(plain, 99, 'missed')
  await aSlot(plain, 98, 'pending')
  await aSlot(plain, 10, 'skipped')
  await aSlot(filling, 100, 'coalesced')
  const backfill = uuidv7()
  await sql`insert into schedule_backfills (id, workspace_id, schedule_id, state, from_at, to_at, concurrency, slots, cursor_at)
    values (${backfill}, ${workspaceId}, ${filling}, 'running', app_now(), app_now(), 1, 1, app_now())`.execute(db)
  await drain()
  expect((await slots()).toSorted()).toEqual(['coalesced', 'pending', 'skipped'])
  await sql`update schedule_backfills set state = 'finished'`.execute(db)
  await drain()
  expect((await slots()).toSorted()).toEqual(['pending', 'skipped'])
  expect((await getRetention(ctx)).deleted.schedule_slots.count).toBe(3)
})

test('a ledger that was shortened once does not begin earlier again', async () => {
  const { ctx } = await setUp()
  const ageOf = async () => Math.round((Date.now() - (await ledgerBegins(ctx))!.getTime()) / (day * 1000))
  expect(await ageOf()).toBe(90)
  await updateRetention(ctx, { schedule_slots_days: 10 }, null)
  expect(await ageOf()).toBe(10)
  await updateRetention(ctx, { schedule_slots_days: 0 }, null)
  expect(await ageOf()).toBe(10)
})
