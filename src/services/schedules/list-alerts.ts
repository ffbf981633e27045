import type { ServiceContext } from '../../context.ts'
import { newestFirst } from '../../db/keyset.ts'
import type { ScheduleEventRow } from '../../db/tables/schedule-operations.table.ts'
import { isUuid } from '../../lib/ids.ts'
import type { JsonObject } from '../../lib/json.ts'
import { byCreation, toPage, type Page, type PageRequest } from '../../lib/pagination.ts'
import { AppError } from '../../lib/errors.ts'
import type { ScheduleEventType } from './alerts.ts'

/** An event on the wire, with what became of its delivery to the schedule's own address. */
export interface AlertView {
  id: string
  type: string
  schedule_id: string
  data: JsonObject
  delivery: {
    status: ScheduleEventRow['delivery']
    attempts: number
    next_attempt_at: string | null
    last_status: number | null
    last_error: string | null
    delivered_at: string | null
  }
  created_at: string
}

/** Newest first. What was told of a schedule that is gone is still there. */
export async function listAlerts(
  { db, actor }: Pick<ServiceContext, 'db' | 'actor'>,
  {
    schedule_id,
    type,
    ...page
  }: PageRequest & { schedule_id?: string | undefined; type?: ScheduleEventType | undefined },
): Promise<Page<AlertView>> {
  let all = db.selectFrom('schedule_events').selectAll().where('workspace_id', '=', actor.workspaceId)
  if (schedule_id !== undefined) {
    if (!isUuid(schedule_id)) throw new AppError('not-found', `Schedule ${schedule_id} does not exist.`)
    all = all.where('schedule_id', '=', schedule_id)
  }
  if (type !== undefined) all = all.where('type', '=', type)
  return toPage(await newestFirst(all, page).execute(), page.limit, byCreation, toAlertView)
}

const toAlertView = (row: ScheduleEventRow): AlertView => ({
  id: row.id,
  type: row.type,
  schedule_id: row.schedule_id,
  data: row.data,
  delivery: {
    status: row.delivery,
    attempts: row.attempts,
    next_attempt_at: row.next_attempt_at?.toISOString() ?? null,
    last_status: row.last_status,
    last_error: row.last_error,
    delivered_at: row.delivered_at?.toISOString() ?? null,
  },
  created_at: row.created_at.toISOString(),
})
