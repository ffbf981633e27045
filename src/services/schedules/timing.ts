import { sql, type Kysely } from 'kysely'
import type { Database } from '../../db/database.ts'
import type { ScheduleRow } from '../../db/tables/schedules.table.ts'
import { jitterMs } from '../../lib/slots/jitter.ts'
import { nextSlot } from '../../lib/slots/slots.ts'
import type { SlotSpec } from '../../lib/slots/spec.ts'

/** The columns that say when slots are. */
export type TimingColumns = Pick<
  ScheduleRow,
  'cron' | 'interval_s' | 'anchor_at' | 'timezone' | 'dst' | 'start_at' | 'end_at'
>

export const specOf = (row: TimingColumns): SlotSpec => ({
  cron: row.cron,
  interval: row.interval_s,
  anchor: row.anchor_at,
  zone: row.timezone,
  dst: row.dst,
  start: row.start_at,
  end: row.end_at,
})

/** When a slot fires: its time plus its jitter. */
export const fireTime = (scheduleId: string, slot: Date, jitterSeconds: number): Date =>
  new Date(slot.getTime() + jitterMs(scheduleId, slot, jitterSeconds))

/** Where the tick has to look next. A paused schedule keeps its next slot and is due at no time. */
export function placement(row: TimingColumns & Pick<ScheduleRow, 'id' | 'jitter_s' | 'paused'>, after: Date) {
  const slot = nextSlot(specOf(row), after)
  return {
    next_slot_at: slot,
    next_fire_at: slot && !row.paused ? fireTime(row.id, slot, row.jitter_s) : null,
  }
}

/** The database's clock: the only one that decides what is due. */
export async function databaseNow(db: Kysely<Database>): Promise<Date> {
  const { rows } = await sql<{ now: Date }>`select date_trunc('milliseconds', app_now()) as now`.execute(db)
  const now = rows[0]?.now
  if (!now) throw new Error('The database did not tell the time.')
  return now
}
