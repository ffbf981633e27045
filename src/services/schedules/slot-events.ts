import type { LedgerEntry } from './decide.ts'
import type { EventSource, NewScheduleEvent } from './events.ts'
import { defaultLateAfterSeconds } from './settings.ts'

/** A slot that a pass has fired, and how long after its time that was. */
export interface FiredSlot {
  slotAt: Date
  latenessMs: number
}

const span = (first: Date, last: Date, count: number) => ({
  count,
  first: first.toISOString(),
  last: last.toISOString(),
})

/** What one pass has to tell of the slots of a schedule: at most one event for all that it gave up. */
export function missedEvent(schedule: EventSource, entries: LedgerEntry[]): NewScheduleEvent[] {
  const missed = entries.filter((entry) => entry.status === 'missed')
  const [first] = missed
  const last = missed.at(-1)
  if (!first || !last) return []
  const count = missed.reduce((sum, entry) => sum + entry.count, 0)
  const slots = span(first.slotAt, last.slotTo ?? last.slotAt, count)
  return [{ schedule, type: 'schedule.slot_missed', data: { slots, reason: first.reason } }]
}

/** And one for all that it fired late, as the schedule itself defines late. */
export function lateEvent(schedule: EventSource, fired: FiredSlot[], reason: string | null): NewScheduleEvent[] {
  const afterMs = (schedule.alerts?.late_after_s ?? defaultLateAfterSeconds) * 1000
  const late = fired.filter((slot) => slot.latenessMs > afterMs)
  const [first] = late
  const last = late.at(-1)
  if (!first || !last) return []
  const lateBy = Math.round(Math.max(...late.map((slot) => slot.latenessMs)) / 1000)
  const slots = span(first.slotAt, last.slotAt, late.length)
  return [{ schedule, type: 'schedule.slot_late', data: { slots, late_by_seconds: lateBy, reason } }]
}
