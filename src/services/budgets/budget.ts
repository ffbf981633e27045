import { sql, type Selectable } from 'kysely'
import type { BudgetPeriod, BudgetsTable } from '../../db/tables/budgets.table.ts'
import { addDecimals } from '../../lib/decimal.ts'
import { entityTag } from '../../lib/etag.ts'
import { scopeOf, type Scope } from './scope.ts'
import { windowAt } from './window.ts'

/** A budget as the wire shows it, with what was measured in the running window. */
export interface Budget {
  id: string
  scope: Scope
  limit_usd: string
  window: BudgetPeriod
  zone: string
  thresholds: number[]
  unknown_price: 'refuse' | 'allow'
  /** Null of `total`, whose window never turns. */
  window_start: string
  window_end: string | null
  spent_usd: string
  reserved_usd: string
  /** Below 0 where the last call went beyond it. */
  remaining_usd: string
  measured: {
    /** Calls of models whose outcome is known, and those of them that are in no sum: their cost is not. */
    calls: number
    unpriced_calls: number
  }
  version: number
  created_at: string
  updated_at: string
}

export type BudgetRow = Selectable<BudgetsTable> & { now: Date }

export const withNow = sql<Date>`app_now()::timestamptz(3)`.as('now')

/** What is measured makes a copy old, but no edit stale. */
export const budgetTag = ({ id, version, ...derived }: Budget): string => entityTag({ id, version }, derived)

export function toBudget(row: BudgetRow): Budget {
  // Nobody has made a call since the window turned, or its row would tell of the new one.
  const turned = row.window_end !== null && row.window_end <= row.now
  const window = turned ? windowAt(row.period, row.zone, row.now) : { start: row.window_start, end: row.window_end }
  const [spent, reserved] = turned ? ['0', '0'] : [plain(row.spent), plain(row.reserved)]
  const limit = plain(row.limit_usd!)
  return {
    id: row.id,
    scope: scopeOf(row),
    limit_usd: limit,
    window: row.period,
    zone: row.zone,
    thresholds: row.thresholds,
    unknown_price: row.unknown_price,
    window_start: window.start.toISOString(),
    window_end: window.end?.toISOString() ?? null,
    spent_usd: spent,
    reserved_usd: reserved,
    remaining_usd: addDecimals(limit, negative(addDecimals(spent, reserved))),
    measured: { calls: turned ? 0 : row.calls, unpriced_calls: turned ? 0 : row.unpriced },
    version: row.version,
    created_at: row.created_at.toISOString(),
    updated_at: row.updated_at.toISOString(),
  }
}

/** Without the zeros that sums leave behind the point. */
const plain = (decimal: string): string => addDecimals(decimal, '0')
const negative = (decimal: string): string => (decimal.startsWith('-') ? decimal.slice(1) : `-${decimal}`)
