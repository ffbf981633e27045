import { sql, type Transaction } from 'kysely'
import type { Database } from '../../db/database.ts'
import type { StoredAlerts } from '../../db/tables/schedules.table.ts'
import { uuidv7 } from '../../lib/ids.ts'
import { insertRuns } from '../runs/create-run.ts'
import { lateAfterMs } from './decide.ts'
import { recordScheduleEvents } from './events.ts'
import { firePendingSlots, skipSlots } from './ledger.ts'
import { scheduledRun, type RunSource } from './scheduled-run.ts'
import type { SlotWatch } from './slot-watch.ts'
import { lateEvent } from './slot-events.ts'
import { fireTime } from './timing.ts'

interface ReleasedRow extends RunSource {
  slot_at: Date
  jitter_s: number
  alerts: StoredAlerts | null
  now: Date
}

/** Slots whose wait is over. Slot and schedule are both locked, so that what another ticker has just fired is seen as fired. */
export const selectReleased = (limit: number, only: string | null = null) => sql<ReleasedRow>`
  select s.id, s.workspace_id, s.recipe_id, s.name, s.input, s.jitter_s, s.alerts, p.slot_at,
    v.version as recipe_version, v.definition -> 'settings' as settings, s.priority,
    date_trunc('milliseconds', app_now()) as now
  from schedule_slots p
  join schedules s on s.id = p.schedule_id
  join workflow_recipes w on w.id = s.recipe_id and w.deleted_at is null
  join recipe_versions v on v.recipe_id = w.id and v.version = w.version
  where p.status = 'pending' and not s.paused${only === null ? sql`` : sql` and s.id = ${only}`}
    and not exists (
      select 1 from runs r where r.schedule_id = p.schedule_id
        and r.state not in ('succeeded', 'failed', 'canceled', 'timed_out')
        and r.trigger ->> 'kind' <> 'backfill')
  order by p.slot_at
  limit ${limit}
  for update of p, s skip locked`

export interface PendingPass {
  /** Runs to wake once the transaction has committed. */
  started: string[]
  /** Runs whose lease holder has to read its inbox. */
  commanded: string[]
}

/** Starts the slots that an overlap held back and whose schedule has no open run any more. `only`: of this schedule alone. */
export async function firePending(
  tx: Transaction<Database>,
  limit: number,
  watch: SlotWatch,
  only: string | null = null,
): Promise<PendingPass> {
  const { rows } = await selectReleased(limit, only).execute(tx)
  const starting = rows.map((row) => ({ row, run: watch.firing(scheduledRun(row, row.slot_at, uuidv7()), null) }))
  const latenessMs = (row: ReleasedRow) => row.now.getTime() - fireTime(row.id, row.slot_at, row.jitter_s).getTime()
  const fired = await firePendingSlots(
    tx,
    starting.map(({ row, run }) => ({
      scheduleId: row.id,
      slotAt: row.slot_at,
      runId: run.id,
      late: latenessMs(row) > lateAfterMs,
    })),
  )
  const runs = starting.flatMap(({ run }) => (fired.has(run.id) ? [run] : []))
  watch.accounted('fired', runs.length)
  const admission = await insertRuns(tx, runs)
  watch.admitted(admission)
  await skipSlots(tx, admission.skipped)
  const late = starting.flatMap(({ row, run }) =>
    fired.has(run.id) ? lateEvent(row, [{ slotAt: row.slot_at, latenessMs: latenessMs(row) }], 'overlap') : [],
  )
  await recordScheduleEvents(tx, late)
  return { started: runs.map((run) => run.id), commanded: admission.commanded }
}
