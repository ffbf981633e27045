import { sql } from 'kysely'
import { jsonb } from '../../src/db/json.ts'
import { uuidv7 } from '../../src/lib/ids.ts'
import { createMemoryBlobs } from '../../src/runtime/memory-blobs.ts'
import { retentionService } from '../../src/services/retention.service.ts'
import { insertRuns } from '../../src/services/runs/create-run.ts'
import { databaseForTest, type TestDatabase } from './database.ts'
import { createServiceContext } from './service-context.ts'

/** A workspace with rows of any age, and the tick of retention over them as the engine, whose rights it has to do with. */
export async function workspaceWithOldRows(database?: TestDatabase) {
  const own = database ?? (await databaseForTest())
  const { db } = own
  const ctx = { ...(await createServiceContext(own)), blobs: createMemoryBlobs() }
  const { workspaceId } = ctx.actor
  const ago = (days: number) => sql`(app_now() - ${days}::double precision * interval '1 day')`

  const aRecipe = async ({ versions = 1, deletedDaysAgo = null as number | null, steps = [] as object[] } = {}) => {
    const id = uuidv7()
    await sql`insert into workflow_recipes (id, workspace_id, slug, name, version, deleted_at)
      values (${id}, ${workspaceId}, ${`r-${id.slice(-12)}`}, 'R', ${versions},
        ${deletedDaysAgo === null ? sql`null` : ago(deletedDaysAgo)})`.execute(db)
    for (let version = 1; version <= versions; version++) await aVersion(id, version, steps)
    return id
  }
  const aVersion = (recipe: string, version: number, steps: object[] = []) =>
    sql`insert into recipe_versions (recipe_id, version, workspace_id, definition, hash)
      values (${recipe}, ${version}, ${workspaceId}, ${jsonb({ name: 'R', steps })}, 'x')`.execute(db)

  /** It ended so long ago; null: it is waiting. */
  const aRun = async (
    endedDaysAgo: number | null,
    more: { recipeId?: string; trigger?: { [key: string]: string } } = {},
  ) => {
    const id = uuidv7()
    const { recipeId = null, trigger = {} } = more
    const definition = { name: 'Nothing', steps: [] }
    await insertRuns(db, [{ id, workspaceId, recipeId, recipeVersion: null, definition, trigger, input: {} }])
    await sql`delete from run_queue where run_id = ${id}`.execute(db)
    const [state, ended] = endedDaysAgo === null ? ['waiting', null] : ['failed', endedDaysAgo]
    await sql`update runs set state = ${state}, created_at = ${ago(ended ?? 1000)},
      finished_at = ${ended === null ? sql`null` : ago(ended)} where id = ${id}`.execute(db)
    await sql`insert into run_steps (run_id, path, parent, ordinal, step_id, kind, status)
      values (${id}, 'a', '', 1, 'a', 'llm', 'succeeded')`.execute(db)
    return id
  }

  const aCall = async (daysAgo: number, { run = null as string | null, cost = '1' } = {}) => {
    const id = uuidv7()
    await sql`insert into model_usage (id, workspace_id, provider, model, status, cost_usd, run_id, step_path, created_at)
      values (${id}, ${workspaceId}, 'openai', 'm', 'ok', ${cost}::text::numeric, ${run}, ${run && 'a'},
        ${ago(daysAgo)})`.execute(db)
    return id
  }

  /** With a plan for each run, and the planner's run before them. */
  const aWorkflow = async (
    endedDaysAgo: number | null,
    more: { recipe?: string | null; runs?: string[]; planning?: string; state?: string } = {},
  ) => {
    const id = uuidv7()
    const { recipe = null, runs = [], planning = null } = more
    const state = more.state ?? (endedDaysAgo === null ? 'awaiting_approval' : 'succeeded')
    await sql`insert into workflows (id, workspace_id, name, goal, approval, state, recipe_id, plan, run_id, created_by,
        created_at, finished_at)
      values (${id}, ${workspaceId}, 'W', 'G', 'auto', ${state}, ${recipe}, ${runs.length}, ${runs.at(-1) ?? planning}, 'x',
        ${ago(1000)}, ${endedDaysAgo === null ? sql`null` : ago(endedDaysAgo)})`.execute(db)
    for (const [index, run] of runs.entries())
      await sql`insert into workflow_plans (workflow_id, number, workspace_id, source, recipe_id, recipe_version, assignments,
          attention, planning_run_id, run_id, created_by)
        values (${id}, ${index + 1}, ${workspaceId}, 'planner', ${recipe}, ${index + 1}, '[]', '[]', ${planning}, ${run}, 'x')`.execute(
        db,
      )
    for (const [index, run] of [...(planning ? [planning] : []), ...runs].entries()) {
      await sql`insert into workflow_runs (workflow_id, number, run_id) values (${id}, ${index + 1}, ${run})`.execute(
        db,
      )
      await sql`update runs set trigger = ${jsonb({ kind: 'workflow', workflow_id: id })} where id = ${run}`.execute(db)
    }
    return id
  }

  const aReplay = async (
    endedDaysAgo: number | null,
    recipe: string,
    more: { runs?: string[]; total?: number } = {},
  ) => {
    const id = uuidv7()
    const runs = more.runs ?? []
    await sql`insert into replays (id, workspace_id, recipe_id, recipe_version, call_models, state, total, request_hash,
        created_at, finished_at)
      values (${id}, ${workspaceId}, ${recipe}, 1, false, ${endedDaysAgo === null ? 'running' : 'finished'},
        ${more.total ?? runs.length}, 'x', ${ago(1000)}, ${endedDaysAgo === null ? sql`null` : ago(endedDaysAgo)})`.execute(
      db,
    )
    for (const [ordinal, run] of runs.entries())
      await sql`insert into replay_runs (replay_id, run_id, workspace_id, ordinal)
        values (${id}, ${run}, ${workspaceId}, ${ordinal})`.execute(db)
    return id
  }

  const idsOf = async (table: string): Promise<string[]> => {
    const { rows } = await sql<{ id: string }>`
      select id from ${sql.table(table)} where workspace_id = ${workspaceId}`.execute(db)
    return rows.map(({ id }) => id).toSorted()
  }
  const countOf = async (table: string): Promise<number> => {
    const { rows } = await sql<{ count: number }>`
      select count(*)::integer as count from ${sql.table(table)}`.execute(db)
    return rows[0]!.count
  }
  const tick = () => retentionService.tick({ ...ctx, db: own.engine })
  const drain = async () => {
    for (let pass = 0; pass < 30; pass++) if (!(await tick()).more) return
    throw new Error('The tick never came to an end.')
  }
  return {
    database: own,
    db,
    ctx,
    workspaceId,
    ago,
    aRecipe,
    aVersion,
    aRun,
    aCall,
    aWorkflow,
    aReplay,
    idsOf,
    countOf,
    tick,
    drain,
  }
}
