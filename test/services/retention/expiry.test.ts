import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { DatabaseAway } from '../../../src/lib/database-away.ts'
import { createBudget } from '../../../src/services/budgets/write.ts'
import { expireUsage } from '../../../src/services/models/expire-usage.ts'
import { expireReplays } from '../../../src/services/replays/expire.ts'
import { getReplay, listReplayedExecutions, listReplays } from '../../../src/services/replays/read-replays.ts'
import { getRetention, retentionService, updateRetention } from '../../../src/services/retention.service.ts'
import { FaultyLine } from '../../support/faulty-database.ts'
import { workspaceWithOldRows } from '../../support/old-rows.ts'

test('what a call has cost goes when its days are over, that of an execution not before the execution', async () => {
  const { ctx, aRun, aCall, drain, idsOf } = await workspaceWithOldRows()
  const [open, over] = [await aRun(null), await aRun(200)]
  await aCall(401)
  await aCall(401, { run: over })
  const kept = [await aCall(399), await aCall(500, { run: open }), await aCall(399, { run: over })]
  await drain()
  expect(await idsOf('runs')).toEqual([open])
  expect(await idsOf('model_usage')).toEqual(kept.toSorted())
  expect((await getRetention(ctx)).deleted.model_usage).toEqual({ count: 2, last_deleted_at: expect.any(String) })
})

test('a budget that is set on the last day of a month finds the calls of the first', async () => {
  const { database, db, ctx, aCall, drain, idsOf } = await workspaceWithOldRows()
  const lastOfMonth = new Date('2031-01-31T23:30:00Z')
  await database.shiftClock({ seconds: Math.round((lastOfMonth.getTime() - Date.now()) / 1000) })
  const { days } = await updateRetention(ctx, { model_usage_days: 1, executions_days: 1 }, null)
  expect(days).toMatchObject({ model_usage_days: 32, executions_days: 1 })
  const first = await aCall(0, { cost: '2' })
  await sql`update model_usage set created_at = '2031-01-01T00:00:00Z' where id = ${first}`.execute(db)
  await aCall(33)
  await drain()
  expect(await idsOf('model_usage')).toEqual([first])
  const month = { limit_usd: '5', window: 'month', zone: 'UTC', unknown_price: 'refuse' } as const
  expect(await createBudget(ctx, { ...month, thresholds: [], scope: { type: 'workspace' } })).toMatchObject({
    spent_usd: '2',
    measured: { calls: 1 },
  })
})

test('who keeps executions for ever keeps what they have cost, and the workflows that they belong to', async () => {
  const { ctx, aCall, aRecipe, aWorkflow, aRun, drain, idsOf } = await workspaceWithOldRows()
  const { days } = await updateRetention(ctx, { executions_days: 0, workflows_days: 1, model_usage_days: 40 }, null)
  expect(days).toMatchObject({ workflows_days: 0, model_usage_days: 0 })
  const recipe = await aRecipe()
  const run = await aRun(900)
  const [call, workflow] = [await aCall(900, { run }), await aWorkflow(900, { recipe, runs: [run] })]
  await drain()
  expect([await idsOf('model_usage'), await idsOf('workflows')]).toEqual([[call], [workflow]])
  expect((await updateRetention(ctx, { executions_days: 50 }, null)).days).toMatchObject({
    workflows_days: 50,
    model_usage_days: 50,
  })
  await drain()
  expect([await idsOf('model_usage'), await idsOf('workflows'), await idsOf('runs')]).toEqual([[], [], []])
})

test('no workspace waits until the backlog of another is gone', async () => {
  const busy = await workspaceWithOldRows()
  const { database, db, tick, drain } = busy
  const [alsoBusy, quiet] = [await workspaceWithOldRows(database), await workspaceWithOldRows(database)]
  for (const { workspaceId } of [busy, alsoBusy])
    await sql`insert into model_usage (id, workspace_id, provider, model, status, created_at)
      select gen_random_uuid(), ${workspaceId}::text::uuid, 'p', 'm', 'ok', app_now() - interval '500 days'
      from generate_series(1, 600)`.execute(db)
  for (let n = 0; n < 3; n++) await quiet.aCall(500)
  await tick()
  expect(await quiet.idsOf('model_usage')).toEqual([])
  const left = [(await busy.idsOf('model_usage')).length, (await alsoBusy.idsOf('model_usage')).length]
  expect(left).toEqual([600 - 166, 600 - 166])
  await drain()
  expect([await busy.idsOf('model_usage'), await alsoBusy.idsOf('model_usage')]).toEqual([[], []])
})

test('several processes at once delete each row once, and count it once', async () => {
  const { ctx, db, workspaceId, tick, drain, aReplay, aRecipe, idsOf } = await workspaceWithOldRows()
  await sql`insert into model_usage (id, workspace_id, provider, model, status, created_at)
    select gen_random_uuid(), ${workspaceId}::text::uuid, 'p', 'm', 'ok', app_now() - interval '500 days'
    from generate_series(1, 700)`.execute(db)
  const recipe = await aRecipe()
  for (let n = 0; n < 10; n++) await aReplay(91, recipe)
  await Promise.all([tick(), tick(), tick()])
  await drain()
  expect([await idsOf('model_usage'), await idsOf('replays')]).toEqual([[], []])
  const { deleted } = await getRetention(ctx)
  expect([deleted.model_usage.count, deleted.replays.count]).toEqual([700, 10])
})

test('a comparison goes with its reports when its days are over, and what is left answers as before', async () => {
  const { ctx, aRecipe, aRun, aReplay, drain, idsOf, countOf } = await workspaceWithOldRows()
  const recipe = await aRecipe()
  const runs = [await aRun(10), await aRun(11)]
  const [over, young, open] = [
    await aReplay(91, recipe, { runs }),
    await aReplay(89, recipe, { runs }),
    await aReplay(null, recipe, { runs }),
  ]
  await drain()
  await expect(getReplay(ctx, over)).rejects.toMatchObject({ kind: 'not-found' })
  expect(await countOf('replay_runs')).toBe(4)
  const { items } = await listReplays(ctx, { limit: 10 })
  expect(items.map(({ id }) => id).toSorted()).toEqual([young, open].toSorted())
  const page = await listReplayedExecutions(ctx, { id: young, limit: 10 })
  expect(page.items.map(({ execution_id }) => execution_id)).toEqual(runs)
  // The executions that were compared are not the comparison's.
  expect(await idsOf('runs')).toEqual(runs.toSorted())
  expect((await getRetention(ctx)).deleted.replays.count).toBe(1)
})

test('a comparison keeps the executions that it is still to compare, a canceled one none', async () => {
  const { db, aRecipe, aRun, aReplay, drain, idsOf } = await workspaceWithOldRows()
  const recipe = await aRecipe()
  const [awaited, given] = [await aRun(200), await aRun(200)]
  await aReplay(null, recipe, { runs: [awaited] })
  const canceled = await aReplay(1, recipe, { runs: [given] })
  await sql`update replays set state = 'canceled' where id = ${canceled}`.execute(db)
  await drain()
  expect(await idsOf('runs')).toEqual([awaited])
})

test('a pass over comparisons is bounded by their reports', async () => {
  const { database, ctx, aRecipe, aReplay, idsOf } = await workspaceWithOldRows()
  const recipe = await aRecipe()
  for (const days of [95, 94, 93]) await aReplay(days, recipe, { total: 1_500 })
  const left = []
  for (let pass = 0; pass < 4; pass++) {
    const { more } = await expireReplays({ ...ctx, db: database.engine })
    left.push([(await idsOf('replays')).length, more])
  }
  expect(left).toEqual([
    [2, true],
    [1, true],
    [0, true],
    [0, false],
  ])
})

test('calls that stay are passed over part by part, and looked at again from the oldest', async () => {
  const { database, db, ctx, ago, aRun, aCall, idsOf } = await workspaceWithOldRows()
  const quiet = await workspaceWithOldRows(database)
  const run = await aRun(null)
  const kept: string[] = []
  for (let n = 0; n < 5; n++) kept.push(await aCall(500, { run }))
  await sql`update model_usage set created_at = ${ago(500)}`.execute(db)
  await aCall(450)
  await quiet.aCall(450)
  const passes = async (count: number) => {
    const done: number[] = []
    for (let n = 0; n < count; n++) done.push((await expireUsage({ ...ctx, db: database.engine }, 2)).done)
    return done
  }
  expect(await passes(1), 'what another workspace deletes does not wait').toEqual([1])
  expect(await quiet.idsOf('model_usage')).toEqual([])
  expect(await passes(3)).toEqual([0, 1, 0])
  expect(await idsOf('model_usage')).toEqual(kept.toSorted())
  await sql`delete from runs`.execute(db)
  expect(await passes(4)).toEqual([2, 2, 1, 0])
})

test('a kind that cannot be deleted holds up no other, and is told', async () => {
  const { db, aRun, aCall, tick, idsOf } = await workspaceWithOldRows()
  const run = await aRun(91)
  await aCall(500)
  await sql`create function refuse() returns trigger language plpgsql as $$
    begin raise exception 'No execution goes.'; end $$`.execute(db)
  await sql`create trigger refuse before delete on runs for each row execute function refuse()`.execute(db)
  await expect(tick()).rejects.toThrow('No execution goes.')
  expect([await idsOf('runs'), await idsOf('model_usage')]).toEqual([[run], []])
})

test('a database that is away is asked no further', async () => {
  const { database, ctx } = await workspaceWithOldRows()
  const line = new FaultyLine(database.engine, null)
  let asked = 0
  line.execute = async () => {
    asked++
    throw new DatabaseAway(new Error('connect ECONNREFUSED'))
  }
  await expect(retentionService.tick({ ...ctx, db: line.db })).rejects.toBeInstanceOf(DatabaseAway)
  expect(asked).toBe(1)
})
