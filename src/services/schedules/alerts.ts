import type { JsonObject } from '../../lib/json.ts'

/**
 * What can be told of a schedule, as `type` of its events: in `GET /api/schedules/alerts`, in what is posted to the
 * schedule's own alert address, and for whoever subscribes to events of a workspace.
 */
export const scheduleEventTypes = [
  /** Slots were given up by the misfire policy. One event for all of a schedule that one pass found. */
  'schedule.slot_missed',
  /** Slots fired later than `alerts.late_after`. One event for all of a schedule that one pass found. */
  'schedule.slot_late',
  /** The slots of a schedule could not be computed: it fires nothing until it is mended. */
  'schedule.parked',
  /** The outside job that calls the schedule's ping address has not done so in time. Once until it calls again. */
  'schedule.overdue',
  /** It has called again. */
  'schedule.recovered',
] as const
export type ScheduleEventType = (typeof scheduleEventTypes)[number]

/** An event as it is stored and sent: `data` always has `schedule: {id, name, recipe_id}`. */
export interface ScheduleEvent {
  id: string
  workspaceId: string
  scheduleId: string
  type: ScheduleEventType
  data: JsonObject
}
