import { sql, type Transaction } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { jsonb } from '../../db/json.ts'
import { AppError } from '../../lib/errors.ts'
import { reaches } from '../../lib/decimal.ts'
import { requireMatch } from '../../lib/etag.ts'
import { isUuid, uuidv7 } from '../../lib/ids.ts'
import { isObject, type Json } from '../../lib/json.ts'
import { invalidRecipe } from '../recipes/input.ts'
import { recordAudit } from '../audit/record.ts'
import { cancelRun, changeWorkflow, end, nothingMoved, start, tellMoved, type Moved } from './advance.ts'
import { loadCandidates } from './assign-agents.ts'
import { compilePlan } from './compile-plan.ts'
import { insertWorkflow, mayRun } from './create-workflow.ts'
import { insertPlanningRun, type WorkflowRow } from './planning-run.ts'
import { findPlan, getPlan, getWorkflow, workflowNotFound } from './read-workflows.ts'
import { insertPlan } from './store-plan.ts'
import { planTag, workflowTag, type Plan, type Workflow } from './view.ts'

/** A change under the workflow's row lock, after the look at If-Match that the tag of the workflow answers. */
async function changing<T>(
  ctx: ServiceContext,
  id: string,
  ifMatch: string | null,
  action: string,
  change: (tx: Transaction<Database>, row: WorkflowRow, moved: Moved) => Promise<T>,
): Promise<T> {
  const moved = nothingMoved()
  const result = await ctx.db.transaction().execute(async (tx) => {
    const row = await lock(tx, ctx, id)
    if (ifMatch !== null) requireMatch(ifMatch, workflowTag(await getWorkflow({ db: tx, actor: ctx.actor }, id)))
    const changed = await change(tx, row, moved)
    await recordAudit(tx, ctx, {
      action,
      target: { type: 'workflow', id: row.id },
      before: { state: row.state, plan: row.plan },
    })
    return changed
  })
  await tellMoved(ctx, moved)
  return result
}

async function lock(
  tx: Transaction<Database>,
  { actor }: Pick<ServiceContext, 'actor'>,
  id: string,
): Promise<WorkflowRow> {
  const row = isUuid(id)
    ? await tx
        .selectFrom('workflows')
        .selectAll()
        .where('workspace_id', '=', actor.workspaceId)
        .where('id', '=', id)
        .forUpdate()
        .executeTakeFirst()
    : undefined
  if (!row) throw workflowNotFound(id)
  return row
}

const userOf = ({ actor }: Pick<ServiceContext, 'actor'>): string => `${actor.kind}:${actor.id}`

/** Name, approval and budget; what was asked stays as it is. */
export async function updateWorkflow(
  ctx: ServiceContext,
  id: string,
  changes: {
    name?: string | undefined
    approval?: 'auto' | 'required' | undefined
    budget_usd?: string | null | undefined
  },
  ifMatch: string | null,
): Promise<Workflow> {
  mayRun(ctx, changes.approval)
  await changing(ctx, id, ifMatch, 'workflow.updated', async (tx, row) => {
    await changeWorkflow(tx, row.id, {
      ...(changes.name !== undefined && { name: changes.name }),
      ...(changes.approval !== undefined && { approval: changes.approval }),
      ...(changes.budget_usd !== undefined && { budget_usd: changes.budget_usd }),
    })
  })
  return getWorkflow(ctx, id)
}

/** Runs the latest plan. With a number, only if that is the latest one still. */
export async function approveWorkflow(
  ctx: ServiceContext,
  id: string,
  request: { plan?: number | undefined },
  ifMatch: string | null,
): Promise<Workflow> {
  await changing(ctx, id, ifMatch, 'workflow.approved', async (tx, row, moved) => {
    if (row.state !== 'awaiting_approval')
      throw new AppError('conflict', `The workflow waits for no approval: it is ${row.state}.`)
    if (request.plan !== undefined && request.plan !== row.plan)
      throw new AppError('conflict', `Plan ${request.plan} is not the latest one: that is plan ${row.plan}.`)
    const spent = row.budget_usd !== null && (row.cost_unknown || reaches(row.cost_usd, row.budget_usd))
    if (spent) throw new AppError('conflict', 'The budget of the workflow is spent: raise it first.')
    await start(tx, row, moved, { approved_by: userOf(ctx), approved_at: sql<Date>`app_now()` })
  })
  return getWorkflow(ctx, id)
}

/** Ends a workflow, whatever it is at; what runs for it is canceled. */
export async function cancelWorkflow(
  ctx: ServiceContext,
  id: string,
  reason: string,
  ifMatch: string | null,
): Promise<Workflow> {
  await changing(ctx, id, ifMatch, 'workflow.canceled', async (tx, row, moved) => {
    if (row.finished_at !== null) throw new AppError('conflict', `The workflow has ended: it is ${row.state}.`)
    const stopping = { kind: 'canceled', detail: reason }
    if (row.state === 'awaiting_approval' || row.run_id === null) return end(tx, row, 'canceled', stopping)
    await changeWorkflow(tx, row.id, { stopping: jsonb(stopping) })
    // It ends with the run: the tick finds it ended, and counts what it has cost.
    await cancelRun(tx, row.run_id, reason, moved)
  })
  return getWorkflow(ctx, id)
}

/** Its executions stay, and so do its recipe's versions; the recipe leaves the list. */
export async function deleteWorkflow(ctx: ServiceContext, id: string, ifMatch: string | null): Promise<void> {
  await changing(ctx, id, ifMatch, 'workflow.deleted', async (tx, row) => {
    if (row.state === 'planning' || row.state === 'running')
      throw new AppError('conflict', `The workflow is ${row.state}: cancel it first.`)
    await tx.deleteFrom('workflows').where('id', '=', row.id).execute()
    if (row.recipe_id === null) return
    const scheduled = await tx
      .selectFrom('schedules')
      .select('id')
      .where('workspace_id', '=', row.workspace_id)
      .where('recipe_id', '=', row.recipe_id)
      .limit(1)
      .executeTakeFirst()
    // Somebody has put it on a schedule: then it has a life of its own.
    if (scheduled) return
    await tx
      .updateTable('workflow_recipes')
      .set({ deleted_at: sql<Date>`app_now()` })
      .where('workspace_id', '=', row.workspace_id)
      .where('id', '=', row.recipe_id)
      .execute()
  })
}

/** The members of a plan that people may write; the rest is ours to say. */
const planMembers = ['name', 'description', 'steps', 'output'] as const

/**
 * An edited plan is the next one, and the one before it stays readable. `replace`: what is not given is gone; else the
 * members that are given change, and null takes one away.
 */
export async function editPlan(
  ctx: ServiceContext,
  id: string,
  members: Record<string, unknown>,
  { replace, ifMatch }: { replace: boolean; ifMatch: string | null },
): Promise<Plan> {
  await changing(ctx, id, null, 'workflow.plan_edited', async (tx, row) => {
    const current = await findPlan(tx, row.workspace_id, row.id)
    if (!current) throw new AppError('not-found', 'The workflow has no plan yet.')
    requireMatch(ifMatch, planTag(current))
    if (row.state !== 'awaiting_approval')
      throw new AppError(
        'conflict',
        `Only a plan that waits for approval can be changed: the workflow is ${row.state}.`,
      )
    const { compiled, faults } = await compilePlan(planOf(members, replace ? null : current), {
      goal: row.goal,
      candidates: await loadCandidates(tx, row.workspace_id, { agents: null, tools: null }),
      tools: null,
      agentsNamed: row.agents !== null,
      by: 'person',
    })
    if (!compiled) throw invalidRecipe([...unknownMembers(members), ...faults])
    if (unknownMembers(members).length > 0) throw invalidRecipe(unknownMembers(members))
    const latest = await tx
      .selectFrom('workflow_plans')
      .select(['results', 'planning_run_id'])
      .where('workflow_id', '=', row.id)
      .where('number', '=', row.plan)
      .executeTakeFirstOrThrow()
    const plan = await insertPlan(tx, row, {
      source: 'edit',
      compiled,
      planningRunId: latest.planning_run_id,
      failed: current.failed,
      results: latest.results,
      createdBy: userOf(ctx),
    })
    await changeWorkflow(tx, row.id, { plan: plan.number, recipe_id: plan.recipeId })
  })
  return getPlan(ctx, id)
}

const unknownMembers = (members: Record<string, unknown>) =>
  Object.keys(members)
    .filter((name) => !(planMembers as readonly string[]).includes(name))
    .map((name) => ({ pointer: `/${name}`, detail: `is not a member of a plan: those are ${planMembers.join(', ')}` }))

function planOf(members: Record<string, unknown>, current: Plan | null): unknown {
  const { name, description, steps, output } = current?.definition ?? {}
  const plan: Record<string, unknown> = { name, description, steps, output, ...members }
  // In a replacement null is the output; in a merge it takes the member away.
  const isGone = (value: unknown) => value === undefined || (value === null && current !== null)
  return Object.fromEntries(Object.entries(plan).filter(([, value]) => !isGone(value)))
}

/** The same goal once more, with the latest plan of the whole as it stands: it waits for approval. Without one it is planned. */
export async function duplicateWorkflow(
  ctx: ServiceContext,
  id: string,
  request: { name?: string | undefined },
): Promise<Workflow> {
  const original = await getWorkflow(ctx, id)
  const whole = await wholePlan(ctx, original)
  const copy = uuidv7()
  const moved = nothingMoved()
  await ctx.db.transaction().execute(async (tx) => {
    const row = await insertWorkflow(tx, ctx, {
      id: copy,
      goal: original.goal,
      name: request.name ?? `${original.name.slice(0, 190)} (copy)`,
      context: original.context as Json,
      agents: original.agents,
      tools: original.tools ?? undefined,
      model: original.model ?? undefined,
      // Who copies may not be who may let plans run by themselves.
      approval: ctx.actor.permissions.has('recipes:execute') ? original.approval : 'required',
      budget_usd: original.budget_usd ?? undefined,
    })
    if (whole) {
      const { definition, assignments, attention } = whole
      const plan = await insertPlan(tx, row, {
        source: 'copy',
        compiled: { definition, assignments, attention },
        planningRunId: null,
        createdBy: userOf(ctx),
      })
      await changeWorkflow(tx, copy, { state: 'awaiting_approval', plan: plan.number, recipe_id: plan.recipeId })
    } else {
      const runId = await insertPlanningRun(tx, row)
      moved.started.push(runId)
      await changeWorkflow(tx, copy, { run_id: runId, planning_attempts: 1 })
    }
    const target = { type: 'workflow', id: copy }
    await recordAudit(tx, ctx, { action: 'workflow.created', target, after: { copy_of: original.id } })
  })
  await tellMoved(ctx, moved)
  return getWorkflow(ctx, copy)
}

/** The latest plan that begins at the beginning: one for the rest is of no use without what went before. */
async function wholePlan(ctx: ServiceContext, { id, plan }: Workflow): Promise<Plan | null> {
  for (let number = plan ?? 0; number > 0; number--) {
    const found = await findPlan(ctx.db, ctx.actor.workspaceId, id, String(number))
    if (found && !isObject(found.failed)) return found
  }
  return null
}
