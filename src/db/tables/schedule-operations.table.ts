import type { ColumnType, Generated, Selectable } from 'kysely'
import type { JsonObject } from '../../lib/json.ts'
import type { JsonColumn } from '../json.ts'

type Created = ColumnType<Date, Date | undefined, never>

/** What was told of a schedule, and how far its own alert address has been told. */
export interface ScheduleEventsTable {
  id: string
  workspace_id: string
  schedule_id: string
  type: string
  data: JsonColumn<JsonObject>
  /** none: the schedule names no address for events of this type. */
  delivery: Generated<'none' | 'pending' | 'delivered' | 'failed'>
  attempts: Generated<number>
  next_attempt_at: Date | null
  last_status: number | null
  last_error: string | null
  delivered_at: Date | null
  created_at: Created
}
export type ScheduleEventRow = Selectable<ScheduleEventsTable>

/** The dead-man's switch of a schedule: an outside job that has to call within a period. */
export interface SchedulePingsTable {
  schedule_id: string
  workspace_id: string
  /** SHA-256 of the token in the address: whoever reads the table cannot call. */
  token_hash: string
  period_s: number
  grace_s: number
  last_ping_at: Date | null
  /** When the schedule becomes overdue. Null: it is overdue already, or paused. */
  due_at: Date | null
  created_at: Created
  updated_at: Generated<Date>
}
export type SchedulePingRow = Selectable<SchedulePingsTable>

export interface ScheduleBackfillsTable {
  id: string
  workspace_id: string
  schedule_id: string
  state: 'running' | 'canceling' | 'finished' | 'canceled' | 'failed'
  /** The window: slots at or after from_at and before to_at. */
  from_at: Date
  to_at: Date
  concurrency: number
  /** How many slots the window had when the backfill was made. */
  slots: number
  /** Slots of the window up to it are decided. */
  cursor_at: Date
  fired: Generated<number>
  /** Slots that had fired before, or were left to another stretch of the ledger. */
  passed_over: Generated<number>
  succeeded: Generated<number>
  failed: Generated<number>
  canceled: Generated<number>
  fault: string | null
  created_by: string | null
  created_at: Created
  checked_at: Generated<Date>
  finished_at: Date | null
}
export type ScheduleBackfillRow = Selectable<ScheduleBackfillsTable>

/** Runs of a backfill that have not been seen to end. */
export interface ScheduleBackfillRunsTable {
  backfill_id: string
  run_id: string
  slot_at: Date
}
