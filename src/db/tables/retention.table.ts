import type { Generated } from 'kysely'

/** How many days a workspace keeps things. Null = the default of the installation, 0 = for ever. */
export interface RetentionPoliciesTable {
  workspace_id: string
  executions_days: number | null
  schedule_slots_days: number | null
  webhook_logs_days: number | null
  files_days: number | null
  audit_days: number | null
  model_usage_days: number | null
  replays_days: number | null
  workflows_days: number | null
  /** Where a longer retention was shortened: what is older was deleted, and does not come back with a longer one. */
  ledger_begins: Date | null
}

export type RetentionKind = 'executions' | 'schedule_slots' | 'webhook_logs' | 'model_usage' | 'replays' | 'workflows'

/** What was deleted so far. */
export interface RetentionFiguresTable {
  workspace_id: string
  kind: RetentionKind
  deleted: number | string
  last_deleted_at: Generated<Date>
}
