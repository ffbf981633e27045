import { sql, type Kysely } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { newestFirst } from '../../db/keyset.ts'
import type { StepStatus } from '../../db/tables/runs.table.ts'
import type { WorkflowState } from '../../db/tables/workflows.table.ts'
import { AppError } from '../../lib/errors.ts'
import { isUuid } from '../../lib/ids.ts'
import type { Json, JsonObject } from '../../lib/json.ts'
import { byCreation, readNumberCursor, toPage, type Page, type PageRequest } from '../../lib/pagination.ts'
import type { Assignment } from './assign-agents.ts'
import { readPause, type Pause } from './pause.ts'
import { progressOf, selectWorkflows, toPlan, toWorkflow, type Plan, type Workflow } from './view.ts'

type Context = Pick<ServiceContext, 'db' | 'actor'>

export const workflowNotFound = (id: string): AppError =>
  new AppError('not-found', `There is no workflow '${id.slice(0, 100)}'.`)

export async function getWorkflow({ db, actor }: Context, id: string): Promise<Workflow> {
  const row = isUuid(id)
    ? await selectWorkflows(db, actor.workspaceId).where('w.id', '=', id).executeTakeFirst()
    : undefined
  if (!row) throw workflowNotFound(id)
  return toWorkflow(row, (await progressOf(db, actor.workspaceId, [row])).get(row.id) ?? null)
}

export async function listWorkflows(
  { db, actor }: Context,
  page: PageRequest & { status?: WorkflowState | undefined; q?: string | undefined },
): Promise<Page<Workflow>> {
  const pattern = `%${(page.q ?? '').replace(/[\\%_]/g, '\\$&')}%`
  const matching = selectWorkflows(db, actor.workspaceId)
    .$if(page.status !== undefined, (query) => query.where('w.state', '=', page.status!))
    .$if(page.q !== undefined, (query) =>
      query.where((where) => where.or([where('w.name', 'ilike', pattern), where('w.goal', 'ilike', pattern)])),
    )
  const rows = await newestFirst(matching, page, 'w').execute()
  const progress = await progressOf(db, actor.workspaceId, rows)
  return toPage(rows, page.limit, byCreation, (row) => toWorkflow(row, progress.get(row.id) ?? null))
}

/** What is not at its end: planned, waiting for approval, or running; and whether the workspace rests. */
export async function listActive(
  { db, actor }: Context,
  page: PageRequest,
): Promise<Page<Workflow> & { paused: Pause | null }> {
  const open = selectWorkflows(db, actor.workspaceId).where('w.state', 'in', [
    'planning',
    'awaiting_approval',
    'running',
  ])
  const rows = await newestFirst(open, page, 'w').execute()
  const progress = await progressOf(db, actor.workspaceId, rows)
  const shown = toPage(rows, page.limit, byCreation, (row) => toWorkflow(row, progress.get(row.id) ?? null))
  return { ...shown, paused: await readPause(db, actor.workspaceId) }
}

const selectPlans = (db: Kysely<Database>, workspaceId: string, workflowId: string) =>
  db
    .selectFrom('workflow_plans as p')
    .innerJoin('recipe_versions as v', (join) =>
      join.onRef('v.recipe_id', '=', 'p.recipe_id').onRef('v.version', '=', 'p.recipe_version'),
    )
    .selectAll('p')
    .select('v.definition')
    .where('p.workspace_id', '=', workspaceId)
    .where('p.workflow_id', '=', workflowId)

/** One plan of a workflow by its number; without one the latest. */
export async function getPlan(ctx: Context, id: string, number?: string): Promise<Plan> {
  const { id: workflowId } = await getWorkflow(ctx, id)
  const plan = await findPlan(ctx.db, ctx.actor.workspaceId, workflowId, number)
  if (!plan)
    throw new AppError('not-found', number === undefined ? 'The workflow has no plan yet.' : 'There is no such plan.')
  return plan
}

export async function findPlan(
  db: Kysely<Database>,
  workspaceId: string,
  workflowId: string,
  number?: string,
): Promise<Plan | null> {
  if (number !== undefined && !/^\d{1,6}$/.test(number)) return null
  const row = await selectPlans(db, workspaceId, workflowId)
    .$if(number !== undefined, (query) => query.where('p.number', '=', Number(number)))
    .orderBy('p.number', 'desc')
    .limit(1)
    .executeTakeFirst()
  return row ? toPlan(row) : null
}

/** Newest first. Plans are numbered without gaps, so a page is found by number. */
export async function listPlans(ctx: Context, id: string, page: PageRequest): Promise<Page<Plan>> {
  const { id: workflowId } = await getWorkflow(ctx, id)
  const after = readNumberCursor(page.cursor)
  const rows = await selectPlans(ctx.db, ctx.actor.workspaceId, workflowId)
    // The cursor of lists holds a time; here it holds the number of the last plan shown.
    .$if(after !== null, (query) => query.where('p.number', '<', after!))
    .orderBy('p.number', 'desc')
    .limit(page.limit + 1)
    .execute()
  return toPage(rows, page.limit, ({ number }) => ({ createdAt: new Date(number), id: workflowId }), toPlan)
}

/** One step of one plan, as it was carried out. */
export interface Provenance {
  plan: number
  execution_id: string
  path: string
  step_id: string
  kind: string
  status: StepStatus
  attempts: number
  agent: { id: string; slug: string; version: number } | null
  assignment: Assignment | null
  models: { provider: string; model: string; calls: number; simulated: boolean }[]
  /** Exact decimal; null when the cost of any call is unknown. */
  cost_usd: string | null
  error: JsonObject | null
  started_at: string | null
  finished_at: string | null
}
export interface WorkflowResult {
  workflow_id: string
  status: WorkflowState
  /** Null until the workflow has succeeded. Of a large one, the place where the whole of it is. */
  output: Json
  output_execution_id: string | null
  steps: Provenance[]
}

const maxStepsShown = 1_000

/** What came of it, and who or what did each part: over all plans, in the order in which it happened. */
export async function getResult(ctx: Context, id: string): Promise<WorkflowResult> {
  const workflow = await getWorkflow(ctx, id)
  const plans = await selectPlans(ctx.db, ctx.actor.workspaceId, workflow.id)
    .where('p.run_id', 'is not', null)
    .orderBy('p.number')
    .execute()
  const runIds = plans.map(({ run_id }) => run_id!)
  const isDone = workflow.status === 'succeeded'
  const last = plans.at(-1)
  const output = isDone && last ? await outputOf(ctx, last.run_id!) : null
  if (runIds.length === 0)
    return { workflow_id: workflow.id, status: workflow.status, output, output_execution_id: null, steps: [] }
  const { rows } = await sql<StepRow>`
    select s.run_id, s.path, s.step_id, s.kind, s.status, s.attempts, s.error, s.started_at, s.finished_at,
      s.state -> 'agent' as agent, u.models, u.cost
    from run_steps s
    join runs r on r.id = s.run_id
    left join lateral (
      select jsonb_agg(m) as models,
        case when bool_or(m.unknown) then null else trim_scale(sum(m.cost))::text end as cost
      from (
        select provider, model, count(*)::integer as calls, bool_or(simulated) as simulated, sum(cost_usd) as cost,
          bool_or(cost_usd is null and status = 'ok') as unknown
        from model_usage
        where workspace_id = r.workspace_id and created_at >= ${workflow.created_at}::text::timestamptz
          and run_id = s.run_id and step_path = s.path
        group by provider, model order by provider, model
      ) m
    ) u on s.kind in ('agent', 'llm')
    where r.workspace_id = ${ctx.actor.workspaceId} and s.run_id in (${sql.join(runIds)}) and s.kind <> 'item'
    order by r.created_at, r.id, s.started_at nulls last, s.ordinal, s.path
    limit ${maxStepsShown}`.execute(ctx.db)
  const planOf = new Map(plans.map((plan) => [plan.run_id!, toPlan(plan)]))
  return {
    workflow_id: workflow.id,
    status: workflow.status,
    output,
    output_execution_id: isDone && last ? last.run_id : null,
    steps: rows.map((row) => toProvenance(row, planOf.get(row.run_id)!)),
  }
}

async function outputOf({ db, actor }: Context, runId: string): Promise<Json> {
  const run = await db
    .selectFrom('runs')
    .select('output')
    .where('workspace_id', '=', actor.workspaceId)
    .where('id', '=', runId)
    .executeTakeFirst()
  return run?.output ?? null
}

interface StepRow {
  run_id: string
  path: string
  step_id: string
  kind: string
  status: StepStatus
  attempts: number
  error: JsonObject | null
  started_at: Date | null
  finished_at: Date | null
  agent: { id: string; slug: string; version: number } | null
  models: { provider: string; model: string; calls: number; simulated: boolean }[] | null
  cost: string | null
}

function toProvenance(row: StepRow, plan: Plan): Provenance {
  const { agent } = row
  const models = row.models ?? []
  return {
    plan: plan.number,
    execution_id: row.run_id,
    path: row.path,
    step_id: row.step_id,
    kind: row.kind,
    status: row.status,
    attempts: row.attempts,
    agent: agent && { id: agent.id, slug: agent.slug, version: agent.version },
    assignment: plan.assignments.find(({ step_id }) => step_id === row.step_id) ?? null,
    models: models.map(({ provider, model, calls, simulated }) => ({ provider, model, calls, simulated })),
    // A step that asked no model has cost nothing.
    cost_usd: models.length === 0 ? '0' : row.cost,
    error: row.error,
    started_at: row.started_at?.toISOString() ?? null,
    finished_at: row.finished_at?.toISOString() ?? null,
  }
}
