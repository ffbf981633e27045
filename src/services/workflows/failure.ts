import { sql, type Transaction } from 'kysely'
import type { Database } from '../../db/database.ts'
import type { Json, JsonObject } from '../../lib/json.ts'
import { asDefinition } from '../recipes/find.ts'
import { itemKind } from '../runs/records.ts'
import { spilledKey } from '../runs/spill.ts'
import type { Earlier, WorkflowRow } from './planning-run.ts'

/** Results that a plan of the rest takes over, in all; the input of a run is no place for more. */
const maxResultsBytes = 200 * 1024
const previewLength = 500

/** How the latest plan failed, and what there is to go on with. */
export interface PlanFailure {
  failed: JsonObject
  /** Kind of the step that failed; null where none did. */
  kind: string | null
  results: JsonObject
  /** What the planner is told. */
  brief: NonNullable<Earlier['failed']>
}

/** Null where the latest plan has not failed. */
export async function failureOf(tx: Transaction<Database>, row: WorkflowRow): Promise<PlanFailure | null> {
  if (row.plan === 0) return null
  const plan = await tx
    .selectFrom('workflow_plans as p')
    .innerJoin('runs as r', 'r.id', 'p.run_id')
    .innerJoin('recipe_versions as v', (join) =>
      join.onRef('v.recipe_id', '=', 'p.recipe_id').onRef('v.version', '=', 'p.recipe_version'),
    )
    .select(['p.number', 'p.run_id', 'p.results', 'r.error', 'v.definition'])
    .where('p.workflow_id', '=', row.id)
    .where('p.number', '=', row.plan)
    .where('r.state', '=', 'failed')
    .executeTakeFirst()
  if (!plan) return null
  const path = typeof plan.error?.['step'] === 'string' ? plan.error['step'] : null
  const steps = await tx
    .selectFrom('run_steps')
    .select(['path', 'step_id', 'kind', 'status', 'output', sql<number>`octet_length(output::text)`.as('bytes')])
    .where('run_id', '=', plan.run_id)
    .where('parent', '=', '')
    .where('kind', '<>', itemKind)
    .orderBy('ordinal')
    .execute()
  const { results, leftOut } = carried(row.workspace_id, plan.results, steps)
  // Of the list that the plan is: `each` of `each/3/note`, without the visit.
  const step = path === null ? null : path.split('/')[0]!.split('~')[0]!
  const error = plan.error ?? {}
  return {
    failed: {
      plan: plan.number,
      execution_id: plan.run_id,
      step: path,
      error,
      ...(leftOut.length > 0 && { left_out: leftOut }),
    },
    kind: path === null ? null : (steps.find((each) => each.path === path)?.kind ?? 'unknown'),
    results,
    brief: {
      steps: asDefinition(plan.definition).steps as unknown as Json,
      step,
      error,
      results: Object.fromEntries(Object.entries(results).map(([id, value]) => [id, preview(value)])),
    },
  }
}

/** What steps gave, by id: null for those that gave nothing, and for what is too large to hand on. */
function carried(
  workspaceId: string,
  before: JsonObject | null,
  steps: { step_id: string; status: string; output: Json; bytes: number | null }[],
): { results: JsonObject; leftOut: string[] } {
  const results: JsonObject = { ...before }
  const leftOut: string[] = []
  let size = JSON.stringify(results).length
  for (const { step_id, status, output, bytes } of steps) {
    results[step_id] = null
    if (status !== 'succeeded') continue
    if (spilledKey(workspaceId, output) !== null || size + (bytes ?? 0) > maxResultsBytes) leftOut.push(step_id)
    else {
      results[step_id] = output
      size += bytes ?? 0
    }
  }
  return { results, leftOut }
}

function preview(value: Json): Json {
  const text = JSON.stringify(value)
  return text.length <= previewLength ? value : `${text.slice(0, previewLength)}…`
}
