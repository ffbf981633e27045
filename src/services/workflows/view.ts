import { sql, type Kysely, type Selectable } from 'kysely'
import type { Database } from '../../db/database.ts'
import type { PlanSource, WorkflowPlansTable, WorkflowState } from '../../db/tables/workflows.table.ts'
import { entityTag } from '../../lib/etag.ts'
import type { Json, JsonObject } from '../../lib/json.ts'
import type { ModelChoice } from '../models/types.ts'
import { asDefinition } from '../recipes/find.ts'
import type { RecipeDefinition } from '../recipes/definition.ts'
import type { Assignment } from './assign-agents.ts'

/** Finished steps over known ones, from the rows of the run; a foreach counts as one. */
export interface Progress {
  execution_id: string
  purpose: 'plan' | 'run'
  status: string
  steps_finished: number
  steps_known: number
  /** Steps that are under way. */
  current: string[]
  started_at: string | null
}

export interface Workflow {
  id: string
  name: string
  goal: string
  context: Json
  agents: string[] | null
  tools: string[] | null
  model: ModelChoice | null
  approval: 'auto' | 'required'
  budget_usd: string | null
  status: WorkflowState
  error: JsonObject | null
  recipe_id: string | null
  /** Number of the latest plan; null before there is one. */
  plan: number | null
  replans: number
  attention: string[]
  /** Of the planner, for the latest plan. */
  planning_execution_id: string | null
  /** Of the latest plan; null before it is run. */
  execution_id: string | null
  /** Exact decimal, of executions that have ended; null when the cost of any call is unknown. */
  cost_usd: string | null
  progress: Progress | null
  created_by: string
  approved_by: string | null
  created_at: string
  updated_at: string
  planned_at: string | null
  approved_at: string | null
  finished_at: string | null
  version: number
}

/** Every change has a version of its own; progress moves on by itself. */
export const workflowTag = ({ id, version, progress }: Workflow): string => entityTag({ id, version }, progress)

export interface Plan {
  workflow_id: string
  number: number
  source: PlanSource
  definition: RecipeDefinition
  assignments: Assignment[]
  attention: string[]
  failed: JsonObject | null
  recipe_id: string
  recipe_version: number
  planning_execution_id: string | null
  execution_id: string | null
  created_by: string
  created_at: string
}

/** What is planned is written once; only the execution joins it later. */
export const planTag = ({ workflow_id, number, execution_id }: Plan): string =>
  entityTag({ workflow_id, number }, { execution_id })

export type PlanRow = Selectable<WorkflowPlansTable> & { definition: JsonObject }

export const toPlan = (row: PlanRow): Plan => ({
  workflow_id: row.workflow_id,
  number: row.number,
  source: row.source,
  definition: asDefinition(row.definition),
  assignments: row.assignments as unknown as Assignment[],
  attention: row.attention,
  failed: row.failed,
  recipe_id: row.recipe_id,
  recipe_version: row.recipe_version,
  planning_execution_id: row.planning_run_id,
  execution_id: row.run_id,
  created_by: row.created_by,
  created_at: row.created_at.toISOString(),
})

/** Rows with all that their view shows, less what is worked out from steps. */
export const selectWorkflows = (db: Kysely<Database>, workspaceId: string) =>
  db
    .selectFrom('workflows as w')
    .leftJoin('workflow_plans as p', (join) =>
      join.onRef('p.workflow_id', '=', 'w.id').onRef('p.number', '=', 'w.plan'),
    )
    .selectAll('w')
    .select(['p.attention', 'p.planning_run_id', 'p.run_id as plan_run_id'])
    .select([
      sql<string | null>`trim_scale(w.budget_usd)::text`.as('budget_usd_text'),
      sql<string>`trim_scale(w.cost_usd)::text`.as('cost_usd_text'),
    ])
    .where('w.workspace_id', '=', workspaceId)

export type SelectedWorkflow = NonNullable<Awaited<ReturnType<ReturnType<typeof selectWorkflows>['executeTakeFirst']>>>

export function toWorkflow(row: SelectedWorkflow, progress: Progress | null): Workflow {
  const iso = (time: Date | null) => time?.toISOString() ?? null
  const isPlanning = row.state === 'planning'
  return {
    id: row.id,
    name: row.name,
    goal: row.goal,
    context: row.context,
    agents: row.agents,
    tools: row.tools,
    model: row.model as unknown as ModelChoice | null,
    approval: row.approval,
    budget_usd: row.budget_usd_text,
    status: row.state,
    error: row.error,
    recipe_id: row.recipe_id,
    plan: row.plan === 0 ? null : row.plan,
    replans: row.replans,
    attention: row.attention ?? [],
    planning_execution_id: isPlanning ? row.run_id : row.planning_run_id,
    execution_id: row.plan_run_id,
    cost_usd: row.cost_unknown ? null : row.cost_usd_text,
    progress,
    created_by: row.created_by,
    approved_by: row.approved_by,
    created_at: row.created_at.toISOString(),
    updated_at: row.updated_at.toISOString(),
    planned_at: iso(row.planned_at),
    approved_at: iso(row.approved_at),
    finished_at: iso(row.finished_at),
    version: row.version,
  }
}

/** Where the runs stand that workflows wait for; by workflow. One query for a page. */
export async function progressOf(
  db: Kysely<Database>,
  workspaceId: string,
  workflows: readonly { id: string; state: WorkflowState; run_id: string | null }[],
): Promise<Map<string, Progress>> {
  const awaited = workflows.filter(
    ({ state, run_id }) => run_id !== null && (state === 'planning' || state === 'running'),
  )
  if (awaited.length === 0) return new Map()
  const runIds = awaited.map(({ run_id }) => run_id!)
  const { rows } = await sql<ProgressRow>`
    select r.id, r.state, r.started_at, jsonb_array_length(coalesce(r.definition, v.definition) -> 'steps') as known,
      (select count(*)::integer from run_steps s where s.run_id = r.id and position('/' in s.path) = 0
        and position('~' in s.path) = 0 and s.status in ('succeeded', 'failed', 'skipped', 'canceled')) as finished,
      array(select s.path from run_steps s where s.run_id = r.id and s.kind <> 'item' and s.status in ('running', 'waiting')
        order by s.ordinal limit 20) as current
    from runs r left join recipe_versions v on v.recipe_id = r.recipe_id and v.version = r.recipe_version
    where r.workspace_id = ${workspaceId} and r.id in (${sql.join(runIds)})`.execute(db)
  const byRun = new Map(rows.map((row) => [row.id, row]))
  return new Map(
    awaited.flatMap(({ id, state, run_id }): [string, Progress][] => {
      const row = byRun.get(run_id!)
      return row ? [[id, toProgress(row, state === 'planning' ? 'plan' : 'run')]] : []
    }),
  )
}

interface ProgressRow {
  id: string
  state: string
  started_at: Date | null
  known: number
  finished: number
  current: string[]
}

const toProgress = (row: ProgressRow, purpose: 'plan' | 'run'): Progress => ({
  execution_id: row.id,
  purpose,
  status: row.state,
  steps_finished: row.finished,
  steps_known: row.known,
  current: row.current,
  started_at: row.started_at?.toISOString() ?? null,
})
