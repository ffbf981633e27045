import { sql } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import { AppError } from '../../lib/errors.ts'
import type { BudgetRefusal } from './hold.ts'

/** Where what is left is reserved by calls under way: they take seconds. */
const busySeconds = 5

/** For callers who wait for the answer. */
export function budgetProblem({ clock }: Pick<ServiceContext, 'clock'>, { message, refusal }: BudgetRefusal): AppError {
  const { reason, until } = refusal
  if (reason === 'price_unknown' || reason === 'cost_unknown') return new AppError('conflict', message)
  if (reason === 'busy') return exceeded(message, busySeconds)
  return exceeded(message, until && (until.getTime() - clock.now().getTime()) / 1000)
}

/** A budget that never turns tells nobody when to come again. */
const exceeded = (detail: string, seconds: number | null): AppError =>
  new AppError('budget-exceeded', detail, {
    ...(seconds !== null && { headers: { 'retry-after': String(Math.max(1, Math.ceil(seconds))) } }),
  })

interface Spent {
  limit_usd: string
  busy: boolean
  seconds: number | null
}

/**
 * Throws `budget-exceeded` where a call by the actor would find nothing left. A look only: what is made all the same has to
 * reserve like everything else.
 */
export async function requireRoom({ db, actor }: ServiceContext, agentId: string): Promise<void> {
  const scopes = [actor.workspaceId, agentId, ...(actor.kind === 'key' ? [actor.id] : [])]
  const { rows } = await sql<Spent>`
    select trim_scale(limit_usd)::text as limit_usd, spent < limit_usd as busy,
      (extract(epoch from window_end - app_now()))::double precision as seconds
    from budgets
    where workspace_id = ${actor.workspaceId}::text::uuid and scope_id = any(${`{${scopes.join(',')}}`}::text::uuid[])
      and level < 4 and window_end <= app_now() is not true and spent + reserved >= limit_usd
    order by busy, window_end desc nulls first limit 1`.execute(db)
  const spent = rows[0]
  if (!spent) return
  if (spent.busy)
    throw exceeded(`What is left of the budget of ${spent.limit_usd} USD is reserved by calls under way.`, busySeconds)
  throw exceeded(`The budget of ${spent.limit_usd} USD is spent.`, spent.seconds)
}
