import { sql, type Transaction, type UpdateObject } from 'kysely'
import type { Runtime } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { jsonb } from '../../db/json.ts'
import type { RunState } from '../../db/tables/runs.table.ts'
import { reaches } from '../../lib/decimal.ts'
import type { Json, JsonObject } from '../../lib/json.ts'
import { asDefinition } from '../recipes/find.ts'
import { spentBy } from '../runs/budget.ts'
import { cancelRunTree, tellOf, type Cancellation } from '../runs/children.ts'
import { spilledKey } from '../runs/spill.ts'
import { loadCandidates } from './assign-agents.ts'
import { compilePlan } from './compile-plan.ts'
import { failureOf, type PlanFailure } from './failure.ts'
import { insertPlanningRun, type Earlier, type WorkflowRow } from './planning-run.ts'
import { insertPlan, startPlan } from './store-plan.ts'

/** Times that the planner is asked for one plan, the first included: it is told what was wrong with its answer. */
export const maxPlanningAttempts = 3
/** Plans made for the rest, after a step has failed. */
export const maxReplans = 2

/** What to wake once the transaction has committed. */
export interface Moved extends Cancellation {
  started: string[]
}
export const nothingMoved = (): Moved => ({ started: [], commanded: [], ended: [] })

export async function tellMoved(runtime: Runtime, moved: Moved): Promise<void> {
  for (const id of moved.started) runtime.wake.runReady(id)
  await tellOf(runtime, moved)
}

interface AwaitedRun {
  id: string
  state: RunState
  output: Json
  error: JsonObject | null
}
const endings: ReadonlySet<string> = new Set<RunState>(['succeeded', 'failed', 'canceled', 'timed_out'])

/**
 * Takes one workflow a step further, if the run that it waits for has ended: plan, approval, run, plan of the rest, end.
 * It only writes rows, all in the caller's transaction and under the workflow's lock, so a crash changes nothing.
 */
export async function advanceWorkflow(tx: Transaction<Database>, id: string, moved: Moved): Promise<void> {
  const row = await tx
    .selectFrom('workflows')
    .selectAll()
    .where('id', '=', id)
    .where('state', 'in', ['planning', 'running'])
    .forUpdate()
    .skipLocked()
    .executeTakeFirst()
  if (!row) return
  const run = row.run_id === null ? null : await awaitedRun(tx, row.run_id)
  if (!run)
    return end(tx, row, 'failed', { kind: 'execution-gone', detail: 'The execution it waited for no longer exists.' })
  if (!endings.has(run.state)) return
  const paid = await pay(tx, row, run)
  const stopped = paid.stopping
  if (run.state === 'succeeded') {
    // What is done is done, also where somebody wanted it stopped in the meantime; what is only planned is not begun.
    if (row.state === 'running') return end(tx, paid, 'succeeded', null)
    if (stopped?.['kind'] === 'canceled') return end(tx, paid, 'canceled', stopped)
    return takePlan(tx, paid, run, moved)
  }
  if (stopped) return end(tx, paid, stopped['kind'] === 'canceled' ? 'canceled' : 'failed', stopped)
  if (run.state === 'canceled') return end(tx, paid, 'canceled', { ...run.error, execution_id: run.id })
  const byBudget = budgetErrors[String(run.error?.['kind'])]
  if (byBudget !== undefined)
    return end(tx, paid, 'failed', { kind: byBudget, detail: detailOf(run), execution_id: run.id })
  if (row.state === 'planning')
    return end(tx, paid, 'failed', { kind: 'planning-failed', detail: detailOf(run), execution_id: run.id })
  return planTheRest(tx, paid, run, moved)
}

async function awaitedRun(tx: Transaction<Database>, id: string): Promise<AwaitedRun | null> {
  const run = await tx
    .selectFrom('runs')
    .select(['id', 'state', 'output', 'error'])
    .where('id', '=', id)
    .executeTakeFirst()
  return run ?? null
}

const detailOf = (run: AwaitedRun): string => String(run.error?.['detail'] ?? `The execution is ${run.state}.`)

type Change = UpdateObject<Database, 'workflows'>

export async function changeWorkflow(tx: Transaction<Database>, id: string, change: Change): Promise<WorkflowRow> {
  return tx
    .updateTable('workflows')
    .set({ ...change, version: sql<number>`version + 1`, updated_at: sql<Date>`app_now()`, look_failures: 0 })
    .where('id', '=', id)
    .returningAll()
    .executeTakeFirstOrThrow()
}

export async function end(
  tx: Transaction<Database>,
  row: WorkflowRow,
  state: 'succeeded' | 'failed' | 'canceled',
  error: JsonObject | null,
): Promise<void> {
  await changeWorkflow(tx, row.id, {
    state,
    error: error && jsonb(error),
    stopping: null,
    finished_at: sql<Date>`app_now()`,
  })
}

/** What the step of a run fails with where the budget does not allow its call, and what the workflow says of it. */
const budgetErrors: Record<string, string> = { budget_exceeded: 'budget-exceeded', price_unknown: 'budget-unknown' }

/** Adds what a run and those below it have cost, once: the next change of the workflow turns to another run or to none. */
async function pay(tx: Transaction<Database>, row: WorkflowRow, run: AwaitedRun): Promise<WorkflowRow> {
  const cost = await spentBy(tx, run.id)
  return tx
    .updateTable('workflows')
    .set({
      cost_usd: sql<string>`cost_usd + coalesce(${cost}::text::numeric, 0)`,
      cost_unknown: sql<boolean>`cost_unknown or ${cost === null}::boolean`,
    })
    .where('id', '=', row.id)
    .returningAll()
    .executeTakeFirstOrThrow()
}

/** A budget that cannot be kept, because a cost is not known, is one that is spent. */
function overspent({ budget_usd, cost_usd, cost_unknown }: WorkflowRow): JsonObject | null {
  if (budget_usd === null) return null
  if (cost_unknown)
    return { kind: 'budget-unknown', detail: 'The cost of a model call is not known, so the budget cannot be kept.' }
  if (!reaches(cost_usd, budget_usd)) return null
  return { kind: 'budget-exceeded', detail: `The budget of ${Number(budget_usd)} USD is spent.` }
}

export async function cancelRun(tx: Transaction<Database>, runId: string, reason: string, moved: Moved): Promise<void> {
  const { commanded, ended } = await cancelRunTree(tx, runId, reason)
  moved.commanded.push(...commanded)
  moved.ended.push(...ended)
}

/** The planner's answer becomes a plan, or goes back to it with what is wrong. */
async function takePlan(tx: Transaction<Database>, row: WorkflowRow, run: AwaitedRun, moved: Moved): Promise<void> {
  const earlier = await failureOf(tx, row)
  const isSpilled = spilledKey(row.workspace_id, run.output) !== null
  const { compiled, faults } = await compilePlan(isSpilled ? null : run.output, {
    goal: row.goal,
    candidates: await loadCandidates(tx, row.workspace_id, row),
    tools: row.tools,
    agentsNamed: row.agents !== null,
    by: 'planner',
  })
  const spent = overspent(row)
  if (!compiled) {
    if (row.planning_attempts >= maxPlanningAttempts) {
      return end(tx, row, 'failed', {
        kind: 'plan-invalid',
        detail: `The planner gave no plan that can be carried out, asked ${row.planning_attempts} times.`,
        errors: faults.slice(0, 20).map((fault) => ({ ...fault })),
        execution_id: run.id,
      })
    }
    if (spent) return end(tx, row, 'failed', spent)
    const again = { refused: { plan: isSpilled ? null : run.output, faults } }
    return askPlanner(tx, row, earlier, again, { planning_attempts: row.planning_attempts + 1 }, moved)
  }
  const plan = await insertPlan(tx, row, {
    source: earlier ? 'replan' : 'planner',
    compiled,
    planningRunId: run.id,
    failed: earlier?.failed ?? null,
    results: earlier?.results ?? null,
    createdBy: row.created_by,
  })
  const planned: Change = {
    plan: plan.number,
    recipe_id: plan.recipeId,
    planned_at: sql<Date>`app_now()`,
  }
  if (row.approval === 'required' || compiled.attention.length > 0) {
    await changeWorkflow(tx, row.id, { ...planned, state: 'awaiting_approval' })
    return
  }
  const changed = await changeWorkflow(tx, row.id, planned)
  if (spent) return end(tx, changed, 'failed', spent)
  await start(tx, changed, moved)
}

/** Runs the latest plan. */
export async function start(
  tx: Transaction<Database>,
  row: WorkflowRow,
  moved: Moved,
  change: Change = {},
): Promise<WorkflowRow> {
  const plan = await tx
    .selectFrom('workflow_plans as p')
    .innerJoin('recipe_versions as v', (join) =>
      join.onRef('v.recipe_id', '=', 'p.recipe_id').onRef('v.version', '=', 'p.recipe_version'),
    )
    .select(['p.number', 'p.recipe_id', 'p.recipe_version', 'p.results', 'v.definition'])
    .where('p.workflow_id', '=', row.id)
    .where('p.number', '=', row.plan)
    .executeTakeFirstOrThrow()
  const runId = await startPlan(tx, row, plan, asDefinition(plan.definition).settings?.timeout)
  moved.started.push(runId)
  return changeWorkflow(tx, row.id, { ...change, state: 'running', run_id: runId })
}

async function planTheRest(tx: Transaction<Database>, row: WorkflowRow, run: AwaitedRun, moved: Moved): Promise<void> {
  const error: JsonObject = {
    ...run.error,
    kind: String(run.error?.['kind'] ?? run.state),
    detail: detailOf(run),
    execution_id: run.id,
  }
  const earlier = await failureOf(tx, row)
  // A step of kind fail is the plan's own verdict, one of kind approval somebody's, and a run without a failed step is none that others could replace.
  const isFinal =
    !earlier ||
    earlier.kind === null ||
    earlier.kind === 'fail' ||
    earlier.kind === 'approval' ||
    run.state === 'timed_out'
  if (isFinal || row.replans >= maxReplans) return end(tx, row, 'failed', error)
  const spent = overspent(row)
  if (spent) return end(tx, row, 'failed', { ...spent, cause: error })
  await askPlanner(tx, row, earlier, {}, { planning_attempts: 1, replans: row.replans + 1 }, moved)
}

async function askPlanner(
  tx: Transaction<Database>,
  row: WorkflowRow,
  earlier: PlanFailure | null,
  more: Pick<Earlier, 'refused'>,
  change: Change,
  moved: Moved,
): Promise<void> {
  const runId = await insertPlanningRun(tx, row, { ...(earlier && { failed: earlier.brief }), ...more })
  moved.started.push(runId)
  await changeWorkflow(tx, row.id, { ...change, state: 'planning', run_id: runId })
}
