import type { ColumnType, Generated } from 'kysely'
import type { budgetEventTypes } from '../../lib/webhook-events.ts'
import type { DefaultedJsonColumn } from '../json.ts'

type Created = ColumnType<Date, Date | undefined, never>
/** Read as exact decimal text. */
type Decimal = ColumnType<string, string | undefined, string>

export type BudgetPeriod = 'day' | 'week' | 'month' | 'total'

export interface BudgetsTable {
  id: string
  workspace_id: string
  /** 0 workspace, 1 key, 2 agent, 3 recipe, 4 workflow, 5 run: the order in which rows are locked. */
  level: number
  scope_id: string
  /** Null for a workflow, whose row has it. */
  limit_usd: string | null
  period: BudgetPeriod
  zone: Generated<string>
  /** Percents of the limit that are told of. */
  thresholds: DefaultedJsonColumn<number[]>
  unknown_price: Generated<'refuse' | 'allow'>
  window_start: Date
  /** Null: it never turns. */
  window_end: Date | null
  spent: Decimal
  reserved: Decimal
  /** Calls of the window whose outcome is known, and those among them whose cost is not. */
  calls: Generated<number>
  unpriced: Generated<number>
  version: Generated<number>
  created_at: Created
  updated_at: Generated<Date>
}

/** What a call that is under way may cost at most. */
export interface BudgetReservationsTable {
  call_key: string
  attempt: number
  workspace_id: string
  amount: Decimal
  /** The budgets that it counts for, each with the window in which it does. */
  budgets: string[]
  windows: Date[]
  /** `lapsed`: nobody told its end, and its amount counts as spent. */
  state: Generated<'open' | 'lapsed'>
  expires_at: Date
}

export interface BudgetAlertsTable {
  budget_id: string
  window_start: Date
  threshold: number
  type: (typeof budgetEventTypes)[number]
  workspace_id: string
  spent_usd: Decimal
  limit_usd: Decimal
  told_at: Date | null
  created_at: Created
}
