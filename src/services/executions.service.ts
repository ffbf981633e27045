import { sql } from 'kysely'
import type { ServiceContext } from '../context.ts'
import { newestFirst } from '../db/keyset.ts'
import type { RunState, StepStatus } from '../db/tables/runs.table.ts'
import { AppError } from '../lib/errors.ts'
import type { Json, JsonObject } from '../lib/json.ts'
import { byCreation, toPage, type Page, type PageRequest } from '../lib/pagination.ts'
import { cancelRun } from './executions/control.ts'
import { checkedId, checkExecution, executionNotFound, recipeIdOf } from './executions/find.ts'
import { waitsFor, type WaitsFor } from './executions/waits-for.ts'
import { completeHandles } from './files/open-handle.ts'
import { loadRecipeForRun } from './recipes.service.ts'
import { spentBy } from './runs/budget.ts'
import { followRun, type RunEvent } from './runs/event-hub.ts'
import { itemKind } from './runs/records.ts'
import { startRun } from './runs/start-run.ts'

export { pauseRun, replayExecution, resumeRun, retryRun } from './executions/control.ts'
export { checkExecution } from './executions/find.ts'
export { readOutput } from './executions/output.ts'
export { executionStats } from './executions/stats.ts'
export { findingKinds, findStuck } from './executions/stuck.ts'
export { waitForEnd } from './executions/wait.ts'

/** Steps shown with an execution; the rest is read page by page. */
const stepsShown = 500

export interface ExecutionSummary {
  id: string
  status: RunState
  recipe_id: string | null
  recipe_version: number | null
  trigger: JsonObject
  error: JsonObject | null
  usage: JsonObject
  generation: number
  parent_execution_id: string | null
  replay_of: string | null
  replayed_from: string | null
  priority: number
  created_at: string
  started_at: string | null
  finished_at: string | null
}
export interface ExecutionStep {
  path: string
  step_id: string
  kind: string
  status: StepStatus
  attempts: number
  output: Json
  error: JsonObject | null
  wake_at: string | null
  started_at: string | null
  finished_at: string | null
}
export interface Execution extends ExecutionSummary {
  last_seq: number
  waits_for: WaitsFor | null
  input: Json
  output: Json
  steps: ExecutionStep[]
  steps_total: number
  /** What the run may spend with those that it starts; null: as much as it needs. */
  budget_usd: string | null
  /** What it has spent with them; null where the cost of any call is not known. */
  cost_usd: string | null
}

/** Queues a run of a recipe's latest version. */
export async function executeRecipe(
  ctx: ServiceContext,
  request: { recipe: string; input: Json; stateKey?: string; priority?: number; idempotencyKey?: string },
): Promise<{
  id: string
  execution_id: string
  recipe_id: string
  recipe_version: number
  status: RunState
  debounced?: true
  replayed?: boolean
}> {
  const recipe = await loadRecipeForRun(ctx.db, ctx.actor.workspaceId, request.recipe)
  if (!recipe) throw new AppError('not-found', `Recipe ${request.recipe} does not exist.`)
  const run = await startRun(ctx, {
    definition: recipe.definition,
    recipe: { id: recipe.id, version: recipe.version },
    trigger: { kind: 'api', ...(ctx.requestId ? { request_id: ctx.requestId } : {}) },
    input: await completeHandles(ctx, request.input, '/input_data'),
    inputPointer: '/input_data',
    ...(request.stateKey === undefined ? {} : { stateKey: request.stateKey }),
    ...(request.priority === undefined ? {} : { priority: request.priority }),
    ...(request.idempotencyKey === undefined ? {} : { idempotencyKey: request.idempotencyKey }),
  })
  return {
    id: run.id,
    execution_id: run.id,
    recipe_id: recipe.id,
    recipe_version: recipe.version,
    status: run.status,
    ...(run.debounced && { debounced: true }),
    ...(run.replayed && { replayed: true }),
  }
}

export async function listExecutions(
  ctx: ServiceContext,
  page: PageRequest & { status?: RunState | undefined; recipe?: string | undefined; scheduleId?: string | undefined },
): Promise<Page<ExecutionSummary>> {
  const all = ctx.db.selectFrom('runs').select(summaryColumns).where('workspace_id', '=', ctx.actor.workspaceId)
  let query = newestFirst(all, page)
  // In the text of the statement, as the index on what has not succeeded is for some states alone.
  if (page.status) query = query.where('state', '=', sql.lit(page.status))
  if (page.recipe !== undefined) query = query.where('recipe_id', '=', await recipeIdOf(ctx, page.recipe))
  if (page.scheduleId !== undefined) query = query.where('schedule_id', '=', page.scheduleId)
  const rows = await query.execute()
  return toPage(rows, page.limit, byCreation, toSummary)
}

export async function getExecution(ctx: ServiceContext, id: string): Promise<Execution> {
  const row = await ctx.db
    .selectFrom('runs')
    .select([...summaryColumns, 'last_seq', 'input', 'output'])
    .select(
      sql<string | null>`coalesce(definition, (select definition from recipe_versions v
        where v.recipe_id = runs.recipe_id and v.version = runs.recipe_version)) #>> '{settings,budget_usd}'`.as(
        'budget_usd',
      ),
    )
    .select(sql<boolean>`exists (select from runs c where c.parent_run_id = runs.id)`.as('has_children'))
    .where('workspace_id', '=', ctx.actor.workspaceId)
    .where('id', '=', checkedId(id))
    .executeTakeFirst()
  if (!row) throw executionNotFound(id)
  const steps = await ctx.db
    .selectFrom('run_steps')
    .select([...stepColumns, sql<number>`count(*) over ()::integer`.as('total')])
    .where('run_id', '=', id)
    // Items follow the step they belong to; within one list the order of first entry holds.
    .orderBy(sql`started_at nulls last`)
    .orderBy('ordinal')
    .orderBy('path')
    .limit(stepsShown)
    .execute()
  const summary = toSummary(row)
  return {
    ...summary,
    last_seq: row.last_seq,
    waits_for: await waitsFor(ctx, row),
    input: row.input,
    output: row.output,
    steps: steps.map(toStep),
    steps_total: steps[0]?.total ?? 0,
    budget_usd: row.budget_usd,
    cost_usd: row.has_children ? await spentBy(ctx.db, row.id) : (summary.usage['cost_usd'] as string | null),
  }
}

/** All steps in the order of their paths; the cursor is the last path of the page before. */
export async function listExecutionSteps(
  ctx: ServiceContext,
  request: { id: string; limit: number; cursor?: string | undefined; items?: boolean | undefined },
): Promise<Page<ExecutionStep>> {
  await checkExecution(ctx, request.id)
  let query = ctx.db
    .selectFrom('run_steps')
    .select(stepColumns)
    .where('run_id', '=', request.id)
    .orderBy('path')
    .limit(request.limit + 1)
  if (request.cursor !== undefined) query = query.where('path', '>', request.cursor)
  if (request.items === false) query = query.where('kind', '<>', itemKind).where('parent', '=', '')
  const rows = await query.execute()
  const shown = rows.slice(0, request.limit)
  return { items: shown.map(toStep), next_cursor: rows.length > request.limit ? shown.at(-1)!.path : null }
}

export async function cancelExecution(ctx: ServiceContext, id: string, reason: string): Promise<Execution> {
  await cancelRun(ctx, id, reason)
  return getExecution(ctx, id)
}

/**
 * The run's events behind `after`, then each as it happens. Null where there is nothing more to come.
 */
export async function followExecution(
  ctx: ServiceContext,
  id: string,
  after: number,
  signal: AbortSignal,
): Promise<AsyncGenerator<RunEvent> | null> {
  const run = await checkExecution(ctx, id)
  const ended = run.finished_at !== null
  if (ended && run.last_seq <= after) return null
  return counted(ctx, followRun(ctx, id, after, signal))
}

async function* counted({ measures }: ServiceContext, events: AsyncGenerator<RunEvent>): AsyncGenerator<RunEvent> {
  if (measures) measures.eventStreams.value++
  try {
    yield* events
  } finally {
    if (measures) measures.eventStreams.value--
  }
}

const summaryColumns = [
  'id',
  'state',
  'recipe_id',
  'recipe_version',
  'trigger',
  'error',
  'usage',
  'generation',
  'parent_run_id',
  'replay_of',
  'replayed_from',
  'priority',
  'created_at',
  'started_at',
  'finished_at',
] as const
const stepColumns = [
  'path',
  'step_id',
  'kind',
  'status',
  'attempts',
  'output',
  'error',
  'wake_at',
  'started_at',
  'finished_at',
] as const

interface SummaryRow {
  id: string
  state: RunState
  recipe_id: string | null
  recipe_version: number | null
  trigger: JsonObject
  error: JsonObject | null
  usage: JsonObject
  generation: number
  parent_run_id: string | null
  replay_of: string | null
  replayed_from: string | null
  priority: number
  created_at: Date
  started_at: Date | null
  finished_at: Date | null
}
const noUsage = { model_calls: 0, input_tokens: 0, output_tokens: 0, cost_usd: '0' }

const toSummary = (row: SummaryRow): ExecutionSummary => ({
  id: row.id,
  status: row.state,
  recipe_id: row.recipe_id,
  recipe_version: row.recipe_version,
  trigger: row.trigger,
  error: row.error,
  usage: { ...noUsage, ...row.usage },
  generation: row.generation,
  parent_execution_id: row.parent_run_id,
  replay_of: row.replay_of,
  replayed_from: row.replayed_from,
  priority: row.priority,
  created_at: row.created_at.toISOString(),
  started_at: row.started_at?.toISOString() ?? null,
  finished_at: row.finished_at?.toISOString() ?? null,
})

interface StepRow {
  path: string
  step_id: string
  kind: string
  status: StepStatus
  attempts: number
  output: Json
  error: JsonObject | null
  wake_at: Date | null
  started_at: Date | null
  finished_at: Date | null
}
const toStep = (row: StepRow): ExecutionStep => ({
  path: row.path,
  step_id: row.step_id,
  kind: row.kind,
  status: row.status,
  attempts: row.attempts,
  output: row.output,
  error: row.error,
  wake_at: row.status === 'waiting' ? (row.wake_at?.toISOString() ?? null) : null,
  started_at: row.started_at?.toISOString() ?? null,
  finished_at: row.finished_at?.toISOString() ?? null,
})
