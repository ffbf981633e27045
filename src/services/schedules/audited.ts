import type { ScheduleRow } from '../../db/tables/schedules.table.ts'
import type { JsonObject } from '../../lib/json.ts'

/** What the audit log keeps of a schedule: what somebody set, not what follows from it. */
export const auditedSchedule = (row: ScheduleRow): JsonObject => ({
  recipe_id: row.recipe_id,
  name: row.name,
  cron: row.cron,
  interval_s: row.interval_s,
  timezone: row.timezone,
  start_at: row.start_at?.toISOString() ?? null,
  end_at: row.end_at?.toISOString() ?? null,
  grace_s: row.grace_s,
  misfire: { ...row.misfire },
  overlap: row.overlap,
  dst: { ...row.dst },
  jitter_s: row.jitter_s,
  input: row.input,
  priority: row.priority,
  paused: row.paused,
  alerts: row.alerts && { ...row.alerts },
})
