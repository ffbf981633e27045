import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { uuidv7 } from '../../../src/lib/ids.ts'
import { expireDeleted } from '../../../src/services/retention/expire-deleted.ts'
import { getRetention, updateRetention } from '../../../src/services/retention.service.ts'
import { getPlan, getWorkflow } from '../../../src/services/workflows/read-workflows.ts'
import { workspaceWithOldRows } from '../../support/old-rows.ts'

type Rows = Awaited<ReturnType<typeof workspaceWithOldRows>>
const anAgent = async ({ db, workspaceId, ago }: Rows, deletedDaysAgo: number | null) => {
  const id = uuidv7()
  await sql`insert into agents (id, workspace_id, slug, name, deleted_at)
    values (${id}, ${workspaceId}, ${id}, 'A', ${deletedDaysAgo === null ? sql`null` : ago(deletedDaysAgo)})`.execute(
    db,
  )
  return id
}
const aBudget = ({ db, workspaceId }: Rows, scope: string, level: number, windowStart = sql`app_now()`) => {
  const id = uuidv7()
  return sql`insert into budgets (id, workspace_id, level, scope_id, limit_usd, period, window_start)
    values (${id}, ${workspaceId}, ${level}, ${scope}, 1, 'day', ${windowStart})`
    .execute(db)
    .then(() => id)
}

test('recipes and agents that were deleted go as long after that as executions after their end', async () => {
  const rows = await workspaceWithOldRows()
  const { aRecipe, drain, idsOf, countOf } = rows
  await aRecipe({ deletedDaysAgo: 91, versions: 3 })
  await anAgent(rows, 91)
  const recipes = [await aRecipe({ deletedDaysAgo: 89 }), await aRecipe()]
  const agents = [await anAgent(rows, 89), await anAgent(rows, null)]
  await drain()
  expect(await idsOf('workflow_recipes')).toEqual(recipes.toSorted())
  expect(await countOf('recipe_versions')).toBe(2)
  expect(await idsOf('agents')).toEqual(agents.toSorted())
})

test('each workspace deletes its own, and one that keeps for ever none', async () => {
  const rows = await workspaceWithOldRows()
  const other = await workspaceWithOldRows(rows.database)
  await updateRetention(other.ctx, { executions_days: 0 }, null)
  await rows.aRecipe({ deletedDaysAgo: 500 })
  const kept = await other.aRecipe({ deletedDaysAgo: 500 })
  await rows.drain()
  expect([await rows.idsOf('workflow_recipes'), await other.idsOf('workflow_recipes')]).toEqual([[], [kept]])
})

test('a deleted recipe stays while anything shows it, and everything that shows it answers', async () => {
  const rows = await workspaceWithOldRows()
  const { db, ctx, workspaceId, aRecipe, aRun, aReplay, aWorkflow, drain, idsOf } = rows
  const gone = () => aRecipe({ deletedDaysAgo: 500 })
  const [ofRun, ofPlan, ofReplay, ofWebhook, ofBudget] = [
    await gone(),
    await gone(),
    await gone(),
    await gone(),
    await gone(),
  ]
  await aRun(null, { recipeId: ofRun })
  const workflow = await aWorkflow(100, { recipe: ofPlan, runs: [await aRun(100)] })
  await aReplay(10, ofReplay)
  await sql`insert into webhooks (id, workspace_id, recipe_id, name, auth, secret, rate_limit, max_body_bytes)
    values (${uuidv7()}, ${workspaceId}, ${ofWebhook}, 'W', '{}', 's', 1, 1)`.execute(db)
  await aBudget(rows, ofBudget, 3)
  const agent = await anAgent(rows, 500)
  await aBudget(rows, agent, 2)
  await drain()
  expect(await idsOf('workflow_recipes')).toEqual([ofRun, ofPlan, ofReplay, ofWebhook, ofBudget].toSorted())
  expect(await idsOf('agents')).toEqual([agent])
  expect(await getWorkflow(ctx, workflow)).toMatchObject({ recipe_id: ofPlan })
  expect(await getPlan(ctx, workflow)).toMatchObject({ definition: { name: 'R' } })
})

test('those that stay are passed over part by part', async () => {
  const { database, ctx, aRecipe, aRun, idsOf } = await workspaceWithOldRows()
  const kept: string[] = []
  for (const days of [500, 499]) kept.push(await aRecipe({ deletedDaysAgo: days }))
  for (const recipeId of kept) await aRun(null, { recipeId })
  await aRecipe({ deletedDaysAgo: 400 })
  const done: number[] = []
  for (let n = 0; n < 3; n++) done.push((await expireDeleted({ ...ctx, db: database.engine }, 2)).done)
  expect(done).toEqual([0, 1, 0])
  expect(await idsOf('workflow_recipes')).toEqual(kept.toSorted())
})

test('a workflow, its recipe and what they have cost leave nothing behind', async () => {
  const { database, aRecipe, aRun, aCall, aWorkflow, drain, countOf } = await workspaceWithOldRows()
  const recipe = await aRecipe()
  const run = await aRun(401, { recipeId: recipe })
  await aWorkflow(401, { recipe, runs: [run] })
  await aCall(401, { run })
  await drain()
  expect([await countOf('workflows'), await countOf('workflow_recipes')]).toEqual([0, 1])
  await database.shiftClock({ seconds: 91 * 86_400 })
  await drain()
  for (const table of ['runs', 'model_usage', 'workflow_plans', 'workflow_runs', 'workflow_recipes', 'recipe_versions'])
    expect(await countOf(table), table).toBe(0)
})

test('a backfill goes with the ledger that it filled, one under way does not', async () => {
  const { db, ctx, workspaceId, aRecipe, ago, drain, idsOf } = await workspaceWithOldRows()
  const schedule = uuidv7()
  await sql`insert into schedules (id, workspace_id, recipe_id, name, cron, anchor_at, timezone, misfire, overlap, dst)
    values (${schedule}, ${workspaceId}, ${await aRecipe()}, 'S', '0 7 * * *', app_now(), 'UTC', '{}', 'allow', '{}')`.execute(
    db,
  )
  const aBackfill = async (state: string, endedDaysAgo: number | null) => {
    const id = uuidv7()
    await sql`insert into schedule_backfills (id, workspace_id, schedule_id, state, from_at, to_at, concurrency, slots,
        cursor_at, created_at, finished_at)
      values (${id}, ${workspaceId}, ${schedule}, ${state}, app_now(), app_now(), 1, 1, app_now(), ${ago(300)},
        ${endedDaysAgo === null ? sql`null` : ago(endedDaysAgo)})`.execute(db)
    return id
  }
  await aBackfill('finished', 91)
  await aBackfill('failed', 200)
  const kept = [await aBackfill('canceled', 89), await aBackfill('running', null)]
  await drain()
  expect(await idsOf('schedule_backfills')).toEqual(kept.toSorted())
  expect((await getRetention(ctx)).deleted.schedule_slots.count).toBe(2)
})

test('an alert goes once it was told and its window is over, so that none is told twice', async () => {
  const rows = await workspaceWithOldRows()
  const { db, workspaceId, ago, drain } = rows
  const [total, monthly] = [
    await aBudget(rows, uuidv7(), 1, sql`date_trunc('day', ${ago(400)})`),
    await aBudget(rows, workspaceId, 0),
  ]
  const anAlert = (budget: string, daysAgo: number, told: boolean) =>
    sql`insert into budget_alerts (budget_id, window_start, threshold, type, workspace_id, spent_usd, limit_usd, told_at)
      values (${budget}, date_trunc('day', ${ago(daysAgo)}), ${daysAgo}, 'budget.exceeded', ${workspaceId}, 2, 1,
        ${told ? sql`app_now()` : sql`null`})`.execute(db)
  await anAlert(total, 400, true)
  await anAlert(monthly, 100, true)
  await anAlert(monthly, 99, false)
  await anAlert(monthly, 30, true)
  await drain()
  const { rows: left } = await sql<{ threshold: number }>`select threshold from budget_alerts order by 1`.execute(db)
  expect(left.map(({ threshold }) => threshold)).toEqual([30, 99, 400])
})
