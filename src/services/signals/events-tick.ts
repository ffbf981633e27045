import { sql, type Kysely } from 'kysely'
import type { BackgroundService } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { DatabaseAway } from '../../lib/database-away.ts'
import { answered } from '../runs/steadily.ts'
import { deliver } from './send-event.ts'
import type { OfferedEvent } from './waits.ts'

const mostEvents = 20
const mostOfWorkspace = 4
const mostWaits = 400
const mostRemoved = 500

/**
 * Goes on with events that more wait for than one request looks at, or whose sender's process died on the way, and
 * removes those whose life is over.
 */
export const eventsService: BackgroundService = {
  name: 'events',
  periodMs: 2_000,
  async tick({ db, wake, log }) {
    const events = await answered(unmatched(db))
    let done = 0
    let failed = 0
    for (const event of events)
      try {
        if (await deliver({ db, wake }, event, mostWaits)) done++
      } catch (error) {
        if (error instanceof DatabaseAway) throw error
        // Of this event alone: the others have their turn.
        failed++
        log.error('An event could not be offered.', { event_id: event.id, error })
      }
    const removed = await answered(removeOver(db))
    const isBound = events.length >= mostOfWorkspace || done + failed < events.length
    return { done: done + removed, more: removed === mostRemoved || (isBound && failed < events.length) }
  },
}

/** Workspaces take turns: first the oldest of each, then a second; between equals lots are drawn. */
async function unmatched(db: Kysely<Database>): Promise<OfferedEvent[]> {
  const { rows } = await sql<OfferedEvent>`
    with recursive tenants as (
      (select workspace_id from inbound_events where not matched order by workspace_id limit 1)
      union all
      select (select e.workspace_id from inbound_events e
        where not e.matched and e.workspace_id > t.workspace_id order by e.workspace_id limit 1)
      from tenants t where t.workspace_id is not null
    ), picked as (
      select head.id, head.place from tenants t
      cross join lateral (
        select e.id, row_number() over (order by e.created_at, e.id) as place from inbound_events e
        where e.workspace_id = t.workspace_id and not e.matched
          -- The request that has just stored one is about to offer it.
          and e.created_at < app_now() - interval '5 seconds'
        order by e.created_at, e.id limit ${mostOfWorkspace}
      ) head
      order by head.place, random() limit ${mostEvents}
    )
    select e.id, e.workspace_id, e.run_id, e.name, e.payload, e.cursor_run_id, e.cursor_path
    from picked p join inbound_events e on e.id = p.id order by p.place`.execute(db)
  return rows
}

async function removeOver(db: Kysely<Database>): Promise<number> {
  const events = await sql`
    delete from inbound_events where id in (
      select id from inbound_events where expires_at <= app_now() order by expires_at limit ${mostRemoved}
      for update skip locked)
    returning id`.execute(db)
  await sql`delete from event_bytes where until <= app_now()`.execute(db)
  return events.rows.length
}
