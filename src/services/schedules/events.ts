import { sql, type Kysely } from 'kysely'
import type { Database } from '../../db/database.ts'
import { toJsonText } from '../../db/json.ts'
import type { ScheduleRow } from '../../db/tables/schedules.table.ts'
import { uuidv7 } from '../../lib/ids.ts'
import type { JsonObject } from '../../lib/json.ts'
import { emitEvents } from '../subscriptions/emit.ts'
import type { ScheduleEventType } from './alerts.ts'

/** What an event needs to know of its schedule. */
export type EventSource = Pick<ScheduleRow, 'id' | 'workspace_id' | 'recipe_id' | 'name' | 'alerts'>

export interface NewScheduleEvent {
  schedule: EventSource
  type: ScheduleEventType
  data: JsonObject
}

/**
 * Writes events in the transaction that makes them true: what is rolled back is not told, what is committed is. Those
 * that the schedule's own alert address wants are due for delivery at once, and so they are for who subscribes to them.
 */
export async function recordScheduleEvents(db: Kysely<Database>, events: NewScheduleEvent[]): Promise<void> {
  if (events.length === 0) return
  const drafts = events.map(({ schedule, type, data }) => ({
    id: uuidv7(),
    schedule,
    type,
    data: { schedule: { id: schedule.id, name: schedule.name, recipe_id: schedule.recipe_id }, ...data },
  }))
  const text = toJsonText(
    drafts.map(({ id, schedule, type, data }) => ({
      id,
      workspace_id: schedule.workspace_id,
      schedule_id: schedule.id,
      type,
      data,
      wanted: schedule.alerts?.on.includes(type) ?? false,
    })),
  )
  const { rows } = await sql<{ created_at: Date }>`
    insert into schedule_events (id, workspace_id, schedule_id, type, data, delivery, next_attempt_at)
    select id, workspace_id, schedule_id, type, data, case when wanted then 'pending' else 'none' end,
      case when wanted then app_now() end
    from jsonb_to_recordset(${text}::text::jsonb) as r(
      id uuid, workspace_id uuid, schedule_id uuid, type text, data jsonb, wanted boolean)
    returning created_at`.execute(db)
  const at = rows[0]?.created_at
  if (!at) return
  await emitEvents(
    db,
    drafts.map(({ id, schedule, type, data }) => ({
      workspaceId: schedule.workspace_id,
      type,
      key: id,
      at,
      data,
      recipeId: schedule.recipe_id,
    })),
  )
}
