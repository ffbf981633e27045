import type { ColumnType, Generated } from 'kysely'
import type { Json, JsonObject } from '../../lib/json.ts'
import type { JsonColumn } from '../json.ts'

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
  /** `{policy: 'skip' | 'run_once'}` or `{policy: 'catch_up', max: n}` */
  misfire: JsonColumn<JsonObject>
  overlap: 'allow' | 'skip' | 'queue' | 'cancel_previous'
  /** `{gap: 'shift' | 'skip', fold: 'first' | 'both'}` */
  dst: JsonColumn<JsonObject>
  jitter_s: Generated<number>
  start_at: Date | null
  end_at: Date | null
  input: JsonColumn<Json>
  paused: Generated<boolean>
  /** Slots before this one are accounted for; it never moves back. Null: no slot is left. */
  next_slot_at: Date | null
  /** next_slot_at plus the slot's jitter; null while paused or finished. The tick's index. */
  next_fire_at: Date | null
  paused_at: Date | null
  /** Why the tick parked it, if it did. */
  fault: string | null
  created_at: ColumnType<Date, Date | undefined, never>
  updated_at: Generated<Date>
}

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

