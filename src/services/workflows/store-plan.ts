import { sql, type Transaction } from 'kysely'
import type { Actor } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { jsonb } from '../../db/json.ts'
import type { PlanSource } from '../../db/tables/workflows.table.ts'
import { uuidv7 } from '../../lib/ids.ts'
import type { JsonObject } from '../../lib/json.ts'
import { insertRuns } from '../runs/create-run.ts'
import { parseDuration } from '../../lib/duration.ts'
import { insertVersion, toVersionContent } from '../recipes/store.ts'
import type { RecipeDefinition } from '../recipes/definition.ts'
import type { CompiledPlan } from './compile-plan.ts'
import { keyOf, type WorkflowRow } from './planning-run.ts'
import { noteRun } from './workflow-runs.ts'

export interface NewPlan {
  source: PlanSource
  compiled: CompiledPlan
  planningRunId: string | null
  failed?: JsonObject | null
  results?: JsonObject | null
  /** `key:<id>`, `user:<id>`; of the planner's own plans, who made the workflow. */
  createdBy: string
}

/** Writes a plan as the next version of the workflow's recipe. Call it under the workflow's row lock. */
export async function insertPlan(
  tx: Transaction<Database>,
  row: WorkflowRow,
  plan: NewPlan,
): Promise<{ number: number; recipeId: string; recipeVersion: number }> {
  const number = row.plan + 1
  const content = toVersionContent(plan.compiled.definition)
  const { recipeId, recipeVersion } = await insertRecipeVersion(tx, row, content, plan.createdBy)
  await tx
    .insertInto('workflow_plans')
    .values({
      workflow_id: row.id,
      number,
      workspace_id: row.workspace_id,
      source: plan.source,
      recipe_id: recipeId,
      recipe_version: recipeVersion,
      assignments: jsonb(plan.compiled.assignments),
      attention: jsonb(plan.compiled.attention),
      failed: plan.failed ? jsonb(plan.failed) : null,
      results: plan.results ? jsonb(plan.results) : null,
      planning_run_id: plan.planningRunId,
      run_id: null,
      created_by: plan.createdBy,
    })
    .execute()
  return { number, recipeId, recipeVersion }
}

async function insertRecipeVersion(
  tx: Transaction<Database>,
  row: WorkflowRow,
  content: RecipeDefinition,
  createdBy: string,
): Promise<{ recipeId: string; recipeVersion: number }> {
  const actor = actorOf(createdBy, row.workspace_id)
  const stored =
    row.recipe_id === null
      ? undefined
      : await tx
          .selectFrom('workflow_recipes')
          .select(['id', 'version'])
          .where('workspace_id', '=', row.workspace_id)
          .where('id', '=', row.recipe_id)
          .where('deleted_at', 'is', null)
          .forNoKeyUpdate()
          .executeTakeFirst()
  if (stored) {
    const recipeVersion = stored.version + 1
    await insertVersion(tx, actor, stored.id, recipeVersion, content)
    await tx
      .updateTable('workflow_recipes')
      .set({
        version: recipeVersion,
        name: content.name,
        description: content.description ?? null,
        updated_at: sql<Date>`app_now()`,
      })
      .where('workspace_id', '=', row.workspace_id)
      .where('id', '=', stored.id)
      .execute()
    return { recipeId: stored.id, recipeVersion }
  }
  const recipeId = uuidv7()
  await tx
    .insertInto('workflow_recipes')
    .values({
      id: recipeId,
      workspace_id: row.workspace_id,
      // Of the new id, because somebody may have deleted an earlier recipe of the same workflow and taken its slug.
      slug: `workflow-${recipeId.replaceAll('-', '').slice(-20)}`,
      name: content.name,
      description: content.description ?? null,
      version: 1,
    })
    .execute()
  await insertVersion(tx, actor, recipeId, 1, content)
  return { recipeId, recipeVersion: 1 }
}

/** Who wrote it down; versions note nothing else of an actor. */
function actorOf(createdBy: string, workspaceId: string): Actor {
  const [kind, id] = [createdBy.slice(0, createdBy.indexOf(':')), createdBy.slice(createdBy.indexOf(':') + 1)]
  return { kind: kind === 'key' || kind === 'user' ? kind : 'system', id, workspaceId, permissions: new Set() }
}

/** Starts a plan on the engine and notes the run with it. Call `wake.runReady` after the commit. */
export async function startPlan(
  tx: Transaction<Database>,
  row: WorkflowRow,
  plan: { number: number; recipe_id: string; recipe_version: number; results: JsonObject | null },
  timeout: string | undefined,
): Promise<string> {
  const id = uuidv7()
  await insertRuns(tx, [
    {
      id,
      workspaceId: row.workspace_id,
      recipeId: plan.recipe_id,
      recipeVersion: plan.recipe_version,
      trigger: { kind: 'workflow', workflow_id: row.id, purpose: 'run', plan: plan.number },
      input: {
        goal: row.goal,
        ...(row.context !== null && { context: row.context }),
        ...(plan.results && { results: plan.results }),
      },
      createdBy: keyOf(row.created_by),
      timeoutMs: timeout === undefined ? null : parseDuration(timeout),
    },
  ])
  await noteRun(tx, row.id, id)
  await tx
    .updateTable('workflow_plans')
    .set({ run_id: id })
    .where('workflow_id', '=', row.id)
    .where('number', '=', plan.number)
    .execute()
  return id
}
