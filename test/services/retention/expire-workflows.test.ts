import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { jsonb } from '../../../src/db/json.ts'
import { uuidv7 } from '../../../src/lib/ids.ts'
import { getRecipe } from '../../../src/services/recipes/read-recipes.ts'
import { getRetention } from '../../../src/services/retention.service.ts'
import { getPlan, getResult, getWorkflow, listWorkflows } from '../../../src/services/workflows/read-workflows.ts'
import { createSchedule } from '../../../src/services/schedules.service.ts'
import { createWebhook } from '../../../src/services/webhooks/manage.ts'
import { expireWorkflows } from '../../../src/services/workflows/expire.ts'
import { FaultyLine } from '../../support/faulty-database.ts'
import { workspaceWithOldRows } from '../../support/old-rows.ts'

test('a workflow goes with its plans and its budget when its days are over, and its recipe leaves the list', async () => {
  const { db, ctx, aRecipe, aRun, aWorkflow, drain, idsOf, countOf } = await workspaceWithOldRows()
  const [oldRecipe, recipe] = [await aRecipe(), await aRecipe()]
  const over = await aWorkflow(401, { recipe: oldRecipe, runs: [await aRun(401)], planning: await aRun(402) })
  const run = await aRun(399)
  const young = await aWorkflow(399, { recipe, runs: [run] })
  for (const scope of [over, young])
    await sql`insert into budgets (id, workspace_id, level, scope_id, period, window_start)
      values (${uuidv7()}, ${ctx.actor.workspaceId}, 4, ${scope}, 'total', app_now())`.execute(db)
  await drain()
  await expect(getWorkflow(ctx, over)).rejects.toMatchObject({ kind: 'not-found' })
  await expect(getRecipe(ctx, oldRecipe)).rejects.toMatchObject({ kind: 'not-found' })
  expect([await countOf('workflow_plans'), await countOf('workflow_runs'), await countOf('budgets')]).toEqual([1, 1, 1])
  expect((await getRetention(ctx)).deleted.workflows).toEqual({ count: 1, last_deleted_at: expect.any(String) })
  // What is left answers, though its execution is gone.
  expect(await idsOf('runs')).toEqual([])
  expect(await getWorkflow(ctx, young)).toMatchObject({ status: 'succeeded', recipe_id: recipe, execution_id: run })
  expect(await getPlan(ctx, young)).toMatchObject({ number: 1, definition: { name: 'R' } })
  expect(await getResult(ctx, young)).toMatchObject({ output: null, steps: [] })
  expect((await listWorkflows(ctx, { limit: 10 })).items.map(({ id }) => id)).toEqual([young])
  expect(await getRecipe(ctx, recipe)).toMatchObject({ id: recipe })
})

test('a workflow that has not ended keeps all its executions, and what they have cost', async () => {
  const { ctx, aRecipe, aVersion, aRun, aCall, aWorkflow, drain, idsOf } = await workspaceWithOldRows()
  const recipe = await aRecipe()
  await aVersion(recipe, 2)
  const [planning, failed, last] = [await aRun(700), await aRun(690), await aRun(680)]
  const waits = await aWorkflow(null, { recipe, runs: [failed, last], planning })
  const call = await aCall(690, { run: failed, cost: '0.5' })
  await drain()
  expect(await idsOf('workflows')).toEqual([waits])
  expect(await idsOf('runs')).toEqual([planning, failed, last].toSorted())
  expect(await idsOf('model_usage')).toEqual([call])
  const { steps } = await getResult(ctx, waits)
  expect(steps.map(({ execution_id, cost_usd }) => [execution_id, cost_usd])).toEqual([
    [failed, '0.5'],
    [last, '0'],
  ])
})

test('and whatever these have started by their steps, however deep', async () => {
  const { db, aRecipe, aRun, aWorkflow, ago, drain, idsOf } = await workspaceWithOldRows()
  const root = await aRun(690)
  const child = await aRun(691, { trigger: { kind: 'recipe', execution_id: root, root } })
  const grandchild = await aRun(692, { trigger: { kind: 'recipe', execution_id: child, root } })
  const caught = await aRun(689, { trigger: { kind: 'on_failure', execution_id: child, root } })
  const other = await aRun(693)
  await aRun(694, { trigger: { kind: 'recipe', execution_id: other, root: other } })
  const workflow = await aWorkflow(null, { recipe: await aRecipe(), runs: [root] })
  await drain()
  expect(await idsOf('runs')).toEqual([root, child, grandchild, caught].toSorted())
  await sql`update workflows set state = 'succeeded', finished_at = ${ago(1)} where id = ${workflow}`.execute(db)
  await drain()
  expect(await idsOf('runs')).toEqual([])
})

test('a workflow whose execution was taken up again stays for as long as that', async () => {
  const { db, ctx, aRecipe, aRun, aCall, aWorkflow, ago, drain, idsOf } = await workspaceWithOldRows()
  const run = await aRun(null)
  const workflow = await aWorkflow(500, { recipe: await aRecipe(), runs: [run] })
  const call = await aCall(600, { run })
  await drain()
  expect([await idsOf('workflows'), await idsOf('model_usage')]).toEqual([[workflow], [call]])
  expect((await getResult(ctx, workflow)).steps).toMatchObject([{ execution_id: run, cost_usd: '1' }])
  await sql`update runs set state = 'failed', finished_at = ${ago(91)} where id = ${run}`.execute(db)
  await drain()
  expect([await idsOf('workflows'), await idsOf('model_usage'), await idsOf('runs')]).toEqual([[], [], []])
})

type Rows = Awaited<ReturnType<typeof workspaceWithOldRows>>
const ownLives: [name: string, begin: (rows: Rows, recipe: string) => Promise<unknown>][] = [
  [
    'has a schedule',
    ({ db, workspaceId }, recipe) =>
      sql`insert into schedules (id, workspace_id, recipe_id, name, cron, anchor_at, timezone, misfire, overlap, dst)
        values (${uuidv7()}, ${workspaceId}, ${recipe}, 'S', '0 7 * * *', app_now(), 'UTC', ${jsonb({ policy: 'skip' })},
          'allow', ${jsonb({})})`.execute(db),
  ],
  [
    'has a webhook',
    ({ db, workspaceId }, recipe) =>
      sql`insert into webhooks (id, workspace_id, recipe_id, name, auth, secret, rate_limit, max_body_bytes)
        values (${uuidv7()}, ${workspaceId}, ${recipe}, 'W', '{}', 's', 1, 1)`.execute(db),
  ],
  [
    'has subscribers',
    ({ db, workspaceId }, recipe) =>
      sql`insert into webhook_subscriptions (id, workspace_id, recipe_id, name, url, events, secret)
        values (${uuidv7()}, ${workspaceId}, ${recipe}, 'W', 'https://example.com', '[]', 's')`.execute(db),
  ],
  [
    'has a budget',
    ({ db, workspaceId }, recipe) =>
      sql`insert into budgets (id, workspace_id, level, scope_id, limit_usd, period, window_start)
        values (${uuidv7()}, ${workspaceId}, 3, ${recipe}, 1, 'day', app_now())`.execute(db),
  ],
  ['was edited', ({ aVersion }, recipe) => aVersion(recipe, 2)],
  ['was run apart', ({ aRun }, recipe) => aRun(1, { recipeId: recipe })],
  [
    'is started by another recipe',
    ({ aRecipe }, recipe) => aRecipe({ steps: [{ id: 'a', kind: 'recipe', recipe: `r-${recipe.slice(-12)}` }] }),
  ],
]

test.each(ownLives)('the recipe of a workflow that went stays where it %s', async (_, begin) => {
  const rows = await workspaceWithOldRows()
  const { ctx, aRecipe, aRun, aWorkflow, drain, idsOf } = rows
  const recipe = await aRecipe()
  await aWorkflow(401, { recipe, runs: [await aRun(401)] })
  await begin(rows, recipe)
  await drain()
  expect(await idsOf('workflows')).toEqual([])
  expect(await getRecipe(ctx, recipe)).toMatchObject({ id: recipe })
})

test.each(ownLives.slice(0, 3))(
  'a recipe that just gets what it has not had stays with its workflow for a later pass: it %s',
  async (_, begin) => {
    const rows = await workspaceWithOldRows()
    const { db, ctx, aRecipe, aRun, aWorkflow, tick, drain, idsOf } = rows
    const [recipe, other] = [await aRecipe(), await aRecipe()]
    const workflow = await aWorkflow(401, { recipe, runs: [await aRun(401)] })
    await aWorkflow(401, { recipe: other, runs: [await aRun(401)] })
    await db.transaction().execute(async (tx) => {
      await begin({ ...rows, db: tx }, recipe)
      await tick()
      expect(await idsOf('workflows')).toEqual([workflow])
    })
    await drain()
    expect(await idsOf('workflows')).toEqual([])
    expect(await getRecipe(ctx, recipe)).toMatchObject({ id: recipe })
    await expect(getRecipe(ctx, other)).rejects.toMatchObject({ kind: 'not-found' })
  },
)

test('a schedule that comes when the expiry has begun keeps its recipe', async () => {
  const { database, ctx, aRecipe, aRun, aWorkflow, idsOf } = await workspaceWithOldRows()
  const recipe = await aRecipe()
  await aWorkflow(401, { recipe, runs: [await aRun(1)] })
  await sql`delete from workflow_runs`.execute(database.db)
  const line = new FaultyLine(database.engine, null)
  const within = line.within.bind(line)
  let added = 0
  line.within = async (tx, place, query) => {
    if (query.sql.includes('from workflow_recipes') && added++ === 0)
      await createSchedule(ctx, { recipe_id: recipe, cron: '0 7 * * *' })
    return within(tx, place, query)
  }
  expect(await expireWorkflows({ ...ctx, db: line.db })).toEqual({ done: 1, more: true })
  expect(added).toBeGreaterThan(0)
  expect(await idsOf('workflows')).toEqual([])
  expect(await getRecipe(ctx, recipe)).toMatchObject({ id: recipe })
})

test('a webhook that is being made when its recipe goes is refused', async () => {
  const { db, ctx, aRecipe, countOf } = await workspaceWithOldRows()
  const recipe = await aRecipe()
  const line = new FaultyLine(db, null)
  const within = line.within.bind(line)
  line.within = async (tx, place, query) => {
    if (place === 0) await sql`update workflow_recipes set deleted_at = app_now()`.execute(db)
    return within(tx, place, query)
  }
  await expect(createWebhook({ ...ctx, db: line.db }, { recipe_id: recipe })).rejects.toMatchObject({
    kind: 'not-found',
  })
  expect(await countOf('webhooks')).toBe(0)
})
