import type { ColumnType, Generated, Selectable } from 'kysely'
import type { Json } from '../../lib/json.ts'
import type { DstPolicy } from '../../lib/slots/spec.ts'
import type { JsonColumn, NullableJsonColumn } from '../json.ts'

export type StoredMisfire = { policy: 'skip' | 'run_once' } | { policy: 'catch_up'; max: number }

/** Where events of a schedule are posted to, and which. */
export interface StoredAlerts {
  url: string
  /** Slug of a credential to send along. */
  credential: string | null
  /** Types of events; see services/schedules/alerts.ts. */
  on: string[]
  late_after_s: number
}

export interface SchedulesTable {
  id: string
  workspace_id: string
  recipe_id: string
  /** Unique within its recipe; `cron_schedule` on a recipe writes the one named `default`. */
  name: string
  cron: string | null
  /** Seconds between slots, counted from `anchor_at`. */
  interval_s: number | null
  anchor_at: Date
  timezone: string
  grace_s: Generated<number>
  misfire: JsonColumn<StoredMisfire>
  overlap: 'allow' | 'skip' | 'queue' | 'cancel_previous'
  dst: JsonColumn<DstPolicy>
  jitter_s: Generated<number>
  start_at: Date | null
  end_at: Date | null
  input: JsonColumn<Json>
  /** Of its runs; null = what the recipe says. */
  priority: number | null
  paused: Generated<boolean>
  /** The watermark: every slot up to and including this instant is in the ledger. It never moves back. */
  accounted_until: Generated<Date>
  /** The first slot after the watermark. Null: no slot is left. */
  next_slot_at: Date | null
  /** When the tick has to look: next_slot_at plus the slot's jitter; null while paused, parked or finished. */
  next_fire_at: Date | null
  paused_at: Date | null
  /** Why the tick parked it, if it did. */
  fault: string | null
  alerts: NullableJsonColumn<StoredAlerts>
  /** Since when the outside job of its ping address has been silent for too long. */
  overdue_at: Date | null
  created_at: ColumnType<Date, Date | undefined, never>
  updated_at: Generated<Date>
}

export type ScheduleRow = Selectable<SchedulesTable>

/** The slot ledger: every due time, fired or not, with the reason. Unique by schedule and slot. */
export interface ScheduleSlotsTable {
  schedule_id: string
  slot_at: Date
  workspace_id: string
  /** pending: decided to fire, held back by overlap until the run before it has ended. */
  status: 'fired' | 'skipped' | 'missed' | 'coalesced' | 'pending'
  reason: string | null
  late: Generated<boolean>
  /** A range row accounts for `count` slots from slot_at up to and including slot_to. */
  slot_to: Date | null
  count: Generated<number>
  run_id: string | null
  fired_at: Date | null
  created_at: ColumnType<Date, Date | undefined, never>
}
