import type { Transaction } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { jsonb } from '../../db/json.ts'
import { AppError, type Fault } from '../../lib/errors.ts'
import { isUuid, uuidv7 } from '../../lib/ids.ts'
import { requirePermission } from '../../lib/require-permission.ts'
import type { Json } from '../../lib/json.ts'
import { recordAudit } from '../audit/record.ts'
import { faultsOfChoice } from '../models/choice.ts'
import type { ModelChoice } from '../models/types.ts'
import { isTool, toolNames } from '../tools/registry.ts'
import { nameOf } from './compile-plan.ts'
import { insertPlanningRun, type WorkflowRow } from './planning-run.ts'
import { getWorkflow } from './read-workflows.ts'
import type { Workflow } from './view.ts'
import { claimRoom } from '../workspaces/limits.ts'

export interface NewWorkflow {
  goal: string
  name?: string | undefined
  context?: Json | undefined
  /** Ids or slugs. */
  agents?: string[] | undefined
  tools?: string[] | undefined
  model?: ModelChoice | undefined
  approval?: 'auto' | 'required' | undefined
  budget_usd?: string | undefined
}

export const maxContextBytes = 64 * 1024

/**
 * Takes a goal. With the answer it is certain that it will be planned: the planner's run is written in the same
 * transaction, and whoever claims it carries on.
 */
export async function createWorkflow(ctx: ServiceContext, input: NewWorkflow): Promise<Workflow> {
  requirePermission(ctx, 'recipes:execute')
  const faults = faultsOf(input)
  const agents = await agentIds(ctx, input.agents, faults)
  if (faults.length > 0) throw new AppError('invalid', 'The workflow cannot be planned like this.', { errors: faults })
  const id = uuidv7()
  const runId = await ctx.db.transaction().execute(async (tx) => {
    const row = await insertWorkflow(tx, ctx, { ...input, id, agents })
    const planningRunId = await insertPlanningRun(tx, row)
    await tx
      .updateTable('workflows')
      .set({ run_id: planningRunId, planning_attempts: 1 })
      .where('id', '=', id)
      .execute()
    await recordAudit(tx, ctx, {
      action: 'workflow.created',
      target: { type: 'workflow', id },
      after: { approval: row.approval, budget_usd: row.budget_usd },
    })
    return planningRunId
  })
  ctx.wake.runReady(runId)
  return getWorkflow(ctx, id)
}

/** A workflow that approves its own plans runs what the planner writes: who may not run recipes may not ask for that. */
export function mayRun({ actor }: Pick<ServiceContext, 'actor'>, approval: string | undefined): void {
  if (approval === 'auto' && !actor.permissions.has('recipes:execute'))
    throw new AppError('forbidden', 'Plans that approve themselves need the permission recipes:execute.')
}

export async function insertWorkflow(
  tx: Transaction<Database>,
  { actor }: Pick<ServiceContext, 'actor'>,
  input: Omit<NewWorkflow, 'agents'> & { id: string; agents: string[] | null },
): Promise<WorkflowRow> {
  // A goal is a run of the planner, and a copy without a plan is planned too.
  requirePermission({ actor }, 'recipes:execute')
  // Its plan will be a recipe.
  await claimRoom(tx, actor.workspaceId, 'recipes')
  return tx
    .insertInto('workflows')
    .values({
      id: input.id,
      workspace_id: actor.workspaceId,
      name: input.name ?? nameOf(input.goal),
      goal: input.goal,
      context: input.context === undefined || input.context === null ? null : jsonb(input.context),
      agents: input.agents && jsonb(input.agents),
      tools: input.tools ? jsonb(input.tools) : null,
      model: input.model ? jsonb(input.model) : null,
      approval: input.approval ?? 'required',
      budget_usd: input.budget_usd ?? null,
      state: 'planning',
      created_by: `${actor.kind}:${actor.id}`,
    })
    .returningAll()
    .executeTakeFirstOrThrow()
}

function faultsOf({ context, tools, model }: NewWorkflow): Fault[] {
  const faults: Fault[] = model ? faultsOfChoice(model, '/model') : []
  const size = context === undefined ? 0 : new TextEncoder().encode(JSON.stringify(context)).length
  if (size > maxContextBytes)
    faults.push({ pointer: '/context', detail: `must be at most ${maxContextBytes / 1024} KB of JSON` })
  for (const [index, name] of (tools ?? []).entries()) {
    if (!isTool(name))
      faults.push({ pointer: `/tools/${index}`, detail: `there is no such tool: use ${toolNames.join(', ')}` })
  }
  return faults
}

async function agentIds(
  { db, actor }: ServiceContext,
  refs: string[] | undefined,
  faults: Fault[],
): Promise<string[] | null> {
  if (refs === undefined) return null
  if (refs.length === 0) return []
  const rows = await db
    .selectFrom('agents')
    .select(['id', 'slug'])
    .where('workspace_id', '=', actor.workspaceId)
    .where('deleted_at', 'is', null)
    .where((where) =>
      where.or([where('slug', 'in', refs), ...(refs.some(isUuid) ? [where('id', 'in', refs.filter(isUuid))] : [])]),
    )
    .execute()
  const ids = refs.map((ref) => rows.find(({ id, slug }) => id === ref || slug === ref)?.id)
  ids.forEach((id, index) => {
    if (id === undefined) faults.push({ pointer: `/agents/${index}`, detail: 'there is no such agent' })
  })
  return [...new Set(ids.filter((id) => id !== undefined))]
}
