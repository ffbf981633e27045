import type { Json } from '../../lib/json.ts'
import type { DstPolicy } from '../../lib/slots/spec.ts'
import type { ScheduleEventType } from './alerts.ts'

export type MisfirePolicy = 'skip' | 'run_once' | { catch_up: number }
export type OverlapPolicy = 'allow' | 'skip' | 'queue' | 'cancel_previous'
/** Where events of a schedule are posted to. */
export interface AlertSettings {
  url: string
  auth?: { credential: string } | null | undefined
  on?: ScheduleEventType[] | undefined
  late_after?: string | number | undefined
}
export type SlotStatus = 'fired' | 'skipped' | 'missed' | 'coalesced' | 'pending'

/** A coming slot, as answers show it. */
export interface SlotPreview {
  slot_at: string
  /** The same instant on the wall clock of the schedule's zone, with its offset. */
  local: string
  /** True on a local day whose clocks change. */
  dst_day: boolean
  /** What the change does to this very slot. */
  dst: 'shifted' | 'first_of_two' | 'second_of_two' | null
}

/** A schedule on the wire. Durations are seconds. */
export interface ScheduleView {
  id: string
  recipe_id: string
  name: string
  cron: string | null
  interval: number | null
  timezone: string
  grace: number
  misfire: MisfirePolicy
  overlap: OverlapPolicy
  dst: DstPolicy
  jitter: number
  start_at: string | null
  end_at: string | null
  input_data: Json
  /** Of its runs; null = what the recipe says. */
  priority: number | null
  paused: boolean
  alerts: { url: string; auth: { credential: string } | null; on: string[]; late_after: number } | null
  status: 'active' | 'paused' | 'finished' | 'parked' | 'overdue'
  /** Since when its ping address has been silent for too long. */
  overdue_since: string | null
  /** Why it is parked. */
  fault: string | null
  next_slots: SlotPreview[]
  created_at: string
  updated_at: string
}

/** A row of the slot ledger on the wire. */
export interface SlotView {
  slot_at: string
  status: SlotStatus
  reason: string | null
  execution_id: string | null
  fired_at: string | null
  late: boolean
  /** On a range row: its last slot, and how many slots it stands for. */
  slot_to?: string
  count?: number
}
