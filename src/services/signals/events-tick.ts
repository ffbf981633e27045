import { sql } from 'kysely'
import type { BackgroundService } from '../../context.ts'
import { answered } from '../runs/steadily.ts'
import { deliver } from './send-event.ts'

const mostEvents = 20
const mostWaits = 2_000
const mostRemoved = 500

/**
 * Goes on with events that more wait for than one request looks at, or whose sender's process died on the way, and
 * removes those whose life is over.
 */
export const eventsService: BackgroundService = {
  name: 'events',
  periodMs: 2_000,
  async tick(runtime) {
    const { db } = runtime
    const events = await answered(
      db
        .selectFrom('inbound_events')
        .select(['id', 'workspace_id', 'run_id', 'name', 'payload'])
        .where('matched', '=', false)
        // The request that has just stored one is about to offer it.
        .where('created_at', '<', sql<Date>`app_now() - interval '5 seconds'`)
        .orderBy('created_at')
        .limit(mostEvents)
        .execute(),
    )
    let done = 0
    for (const event of events) if (await deliver(runtime, event, mostWaits)) done++
    const removed = await answered(removeOver(db))
    return { done: done + removed, more: removed === mostRemoved || events.length === mostEvents }
  },
}

async function removeOver(db: Parameters<BackgroundService['tick']>[0]['db']): Promise<number> {
  const events = await sql`
    delete from inbound_events where id in (
      select id from inbound_events where expires_at <= app_now() order by expires_at limit ${mostRemoved}
      for update skip locked)
    returning id`.execute(db)
  return events.rows.length
}
