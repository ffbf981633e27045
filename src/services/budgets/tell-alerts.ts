import { sql } from 'kysely'
import type { Runtime } from '../../context.ts'
import type { BudgetAlertsTable, BudgetPeriod } from '../../db/tables/budgets.table.ts'
import { emitEvents } from '../subscriptions/emit.ts'
import { scopeOf } from './scope.ts'

export const tellBatch = 100

interface Untold {
  budget_id: string
  workspace_id: string
  window_start: Date
  window_end: Date | null
  threshold: number
  type: BudgetAlertsTable['type']
  spent_usd: string
  limit_usd: string
  created_at: Date
  level: number
  scope_id: string
  period: BudgetPeriod
  zone: string
}

/**
 * Turns alerts into deliveries to whoever subscribes to them, in the transaction that marks them as told: each is told once,
 * whatever process does it. Answers how many.
 */
export async function tellAlerts({ db }: Pick<Runtime, 'db'>): Promise<number> {
  return db.transaction().execute(async (tx) => {
    const { rows } = await sql<Untold>`
      with untold as materialized (
        select budget_id, window_start, threshold, type from budget_alerts
        where told_at is null order by created_at limit ${tellBatch}::integer for update skip locked
      )
      update budget_alerts a set told_at = app_now() from untold u, budgets b
      where a.budget_id = u.budget_id and a.window_start = u.window_start and a.threshold = u.threshold
        and a.type = u.type and b.id = a.budget_id
      returning a.budget_id, a.workspace_id, a.window_start, a.threshold, a.type, trim_scale(a.spent_usd)::text as spent_usd,
        trim_scale(a.limit_usd)::text as limit_usd, a.created_at, b.level, b.scope_id, b.period, b.zone,
        case when b.window_start = a.window_start then b.window_end end as window_end`.execute(tx)
    await emitEvents(tx, rows.map(toEvent))
    return rows.length
  })
}

const toEvent = (row: Untold) => ({
  workspaceId: row.workspace_id,
  type: row.type,
  key: `${row.budget_id}/${row.window_start.toISOString()}/${row.type}/${row.threshold}`,
  at: row.created_at,
  since: row.created_at,
  data: {
    budget: {
      id: row.budget_id,
      scope: scopeOf(row),
      limit_usd: row.limit_usd,
      window: row.period,
      zone: row.zone,
    },
    ...(row.type === 'budget.threshold_reached' && { threshold: row.threshold }),
    spent_usd: row.spent_usd,
    window_start: row.window_start.toISOString(),
    window_end: row.window_end?.toISOString() ?? null,
  },
})
