import { sql, type Transaction } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { jsonb } from '../../db/json.ts'
import { acrossWorkspaces } from '../../db/scope.ts'
import type { Limits } from '../../db/tables/team.table.ts'
import { AppError } from '../../lib/errors.ts'
import { entityTag, requireMatch } from '../../lib/etag.ts'
import { isUuid } from '../../lib/ids.ts'
import { faultOfSlug } from '../../lib/slug.ts'
import { recordAudit } from '../audit/record.ts'
import { applyRunLimit, readLimits, type WorkspaceLimits } from './limits.ts'

export interface Plan {
  slug: string
  name: string
  limits: Limits
  workspaces: number
}

type Context = Pick<ServiceContext, 'db' | 'actor' | 'requestId' | 'client'>

const changeAll = <T>({ db }: Context, work: (tx: Transaction<Database>) => Promise<T>): Promise<T> =>
  acrossWorkspaces(db, (all) => all.transaction().execute(work))

const plansOf = (db: Context['db']) =>
  db
    .selectFrom('plans as p')
    .select(['slug', 'name', 'limits'])
    .select(sql<number>`(select count(*)::integer from workspaces w where w.plan = p.slug)`.as('workspaces'))

export const listPlans = ({ db }: Pick<Context, 'db'>): Promise<Plan[]> =>
  acrossWorkspaces(db, (all) => plansOf(all).orderBy('slug').execute())

export async function getPlan({ db }: Pick<Context, 'db'>, slug: string): Promise<Plan> {
  const plan = await acrossWorkspaces(db, (all) => plansOf(all).where('slug', '=', slug).executeTakeFirst())
  if (!plan) throw new AppError('not-found', `There is no plan '${slug.slice(0, 100)}'.`)
  return plan
}

/** How many workspaces have it is no part of what is edited. */
export const planTag = ({ workspaces, ...plan }: Plan): string => entityTag(plan, workspaces)

/** Makes a plan or replaces it. What it says of runs reaches the engine with the next tick, all else counts at once. */
export async function putPlan(
  ctx: Context,
  slug: string,
  input: { name: string; limits: Limits },
  ifMatch: string | null,
): Promise<Plan> {
  const fault = faultOfSlug(slug)
  if (fault !== null)
    throw new AppError('invalid', 'This is no name of a plan.', {
      errors: [{ pointer: '/params/plan', detail: fault }],
    })
  return changeAll(ctx, async (tx) => {
    await tx.selectFrom('plans').select('slug').where('slug', '=', slug).forUpdate().execute()
    const before = await plansOf(tx).where('slug', '=', slug).executeTakeFirst()
    if (before) requireMatch(ifMatch, planTag(before))
    else if (ifMatch !== null) throw new AppError('precondition-failed', 'There is no such plan to change.')
    const values = { name: input.name, limits: jsonb(input.limits), updated_at: sql<Date>`app_now()` }
    await tx
      .insertInto('plans')
      .values({ slug, ...values })
      .onConflict((conflict) => conflict.column('slug').doUpdateSet(values))
      .execute()
    const plan = await plansOf(tx).where('slug', '=', slug).executeTakeFirstOrThrow()
    await recordAudit(tx, ctx, {
      action: 'plan.set',
      target: { type: 'plan', id: slug },
      before: before ? { name: before.name, limits: before.limits as {} } : null,
      after: { name: plan.name, limits: plan.limits as {} },
    })
    return plan
  })
}

const workspaceNotFound = (id: string) => new AppError('not-found', `The workspace ${id.slice(0, 100)} does not exist.`)

/** Of any workspace, for the operator. */
export async function getLimitsOf({ db }: Pick<Context, 'db'>, id: string): Promise<WorkspaceLimits> {
  const limits = isUuid(id) ? await acrossWorkspaces(db, (all) => readLimits(all, id)) : null
  if (!limits) throw workspaceNotFound(id)
  return limits
}

export const limitsTag = ({ plan, overrides, limits }: WorkspaceLimits): string =>
  entityTag({ plan, overrides }, limits)

/** The operator's word on one workspace: its plan, and what differs from it there. Both are replaced. */
export async function setLimitsOf(
  ctx: Context,
  id: string,
  input: { plan: string; overrides: Limits },
  ifMatch: string | null,
): Promise<WorkspaceLimits> {
  if (!isUuid(id)) throw workspaceNotFound(id)
  return changeAll(ctx, async (tx) => {
    await tx.selectFrom('workspaces').select('id').where('id', '=', id).forNoKeyUpdate().execute()
    const before = await getLimitsOf({ db: tx }, id)
    requireMatch(ifMatch, limitsTag(before))
    const known = await tx.selectFrom('plans').select('slug').where('slug', '=', input.plan).executeTakeFirst()
    if (!known) {
      throw new AppError('invalid', 'The limits have faults.', {
        errors: [{ pointer: '/plan', detail: 'is no plan of this installation' }],
      })
    }
    await tx
      .updateTable('workspaces')
      .set({ plan: input.plan, limits: jsonb(input.overrides) })
      .where('id', '=', id)
      .execute()
    await applyRunLimit(tx, id)
    // Both logs tell it: the operator's, and that of the workspace which it concerns.
    for (const workspaceId of new Set([id.toLowerCase(), ctx.actor.workspaceId])) {
      await recordAudit(tx, ctx, {
        action: 'workspace.limits_set',
        target: { type: 'workspace', id },
        before: { plan: before.plan, overrides: before.overrides as {} },
        after: { plan: input.plan, overrides: input.overrides as {} },
        workspaceId,
      })
    }
    return getLimitsOf({ db: tx }, id)
  })
}
