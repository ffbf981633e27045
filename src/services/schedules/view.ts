import type { Selectable } from 'kysely'
import type { ScheduleRow, ScheduleSlotsTable } from '../../db/tables/schedules.table.ts'
import { entityTag } from '../../lib/etag.ts'
import { describeSlot } from '../../lib/slots/describe.ts'
import { nextSlots } from '../../lib/slots/slots.ts'
import type { SlotSpec } from '../../lib/slots/spec.ts'
import { specOf } from './timing.ts'
import type { ScheduleView, SlotPreview, SlotView } from './types.ts'

export const previewCount = 5

/** Slots come and go, the tick may park it, pings may fail to come: none of that makes an edit of the settings stale. */
export function scheduleTag({ status, fault, overdue_since, next_slots, ...settings }: ScheduleView): string {
  return entityTag(settings, { status, fault, overdue_since, next_slots })
}

export function toScheduleView(row: ScheduleRow, now: Date): ScheduleView {
  // A paused schedule shows what would come if it were resumed now.
  const after = new Date(Math.max(row.accounted_until.getTime(), row.paused ? now.getTime() : 0))
  return {
    id: row.id,
    recipe_id: row.recipe_id,
    name: row.name,
    cron: row.cron,
    interval: row.interval_s,
    timezone: row.timezone,
    grace: row.grace_s,
    misfire: row.misfire.policy === 'catch_up' ? { catch_up: row.misfire.max } : row.misfire.policy,
    overlap: row.overlap,
    dst: row.dst,
    jitter: row.jitter_s,
    start_at: row.start_at?.toISOString() ?? null,
    end_at: row.end_at?.toISOString() ?? null,
    input_data: row.input,
    priority: row.priority,
    paused: row.paused,
    alerts: row.alerts && {
      url: row.alerts.url,
      auth: row.alerts.credential === null ? null : { credential: row.alerts.credential },
      on: row.alerts.on,
      late_after: row.alerts.late_after_s,
    },
    status: statusOf(row),
    overdue_since: row.overdue_at?.toISOString() ?? null,
    fault: row.fault,
    next_slots: row.fault === null ? previewSlots(specOf(row), after) : [],
    created_at: row.created_at.toISOString(),
    updated_at: row.updated_at.toISOString(),
  }
}

export function previewSlots(spec: SlotSpec, after: Date): SlotPreview[] {
  return nextSlots(spec, after, previewCount).map((slot) => {
    const { local, dstDay, dst } = describeSlot(spec, slot)
    return { slot_at: slot.toISOString(), local, dst_day: dstDay, dst }
  })
}

function statusOf(row: ScheduleRow): ScheduleView['status'] {
  if (row.fault !== null) return 'parked'
  if (row.paused) return 'paused'
  if (row.overdue_at !== null) return 'overdue'
  return row.next_slot_at === null ? 'finished' : 'active'
}

export const toSlotView = (row: Selectable<ScheduleSlotsTable>): SlotView => ({
  slot_at: row.slot_at.toISOString(),
  status: row.status,
  reason: row.reason,
  execution_id: row.run_id,
  fired_at: row.fired_at?.toISOString() ?? null,
  late: row.late,
  ...(row.slot_to === null ? {} : { slot_to: row.slot_to.toISOString(), count: row.count }),
})
