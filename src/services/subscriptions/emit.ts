import { sql, type Kysely } from 'kysely'
import type { Database } from '../../db/database.ts'
import { toJsonText } from '../../db/json.ts'
import type { JsonObject } from '../../lib/json.ts'

export interface WorkspaceEvent {
  workspaceId: string
  type: string
  /** Names this event and no other: told twice, it is delivered once. */
  key: string
  at: Date
  data: JsonObject
  /** For subscriptions to one recipe alone. */
  recipeId?: string | null
  runId?: string | null
  /** Subscriptions that are younger are not told. Default: now. */
  since?: Date
}

/**
 * Writes the deliveries of events to whoever subscribes to them. Call it in the transaction that makes the event: then
 * none is lost, and none is told that did not happen. One statement, and no more than a look where nobody subscribes.
 */
export async function emitEvents(db: Kysely<Database>, events: readonly WorkspaceEvent[]): Promise<number> {
  if (events.length === 0) return 0
  const rows = toJsonText(
    events.map((event) => ({
      workspace_id: event.workspaceId,
      event_type: event.type,
      event_key: event.key,
      recipe_id: event.recipeId ?? null,
      run_id: event.runId ?? null,
      since: event.since ?? null,
      // The text itself, so that every attempt signs and sends the same bytes.
      body: JSON.stringify({ type: event.type, timestamp: event.at.toISOString(), data: event.data }),
    })),
  )
  const written = await sql`
    insert into webhook_deliveries (id, subscription_id, workspace_id, event_type, event_key, run_id, body)
    select gen_random_uuid(), s.id, e.workspace_id, e.event_type, e.event_key, e.run_id, e.body
    from jsonb_to_recordset(${rows}::text::jsonb) as e(
      workspace_id uuid, event_type text, event_key text, recipe_id uuid, run_id uuid, since timestamptz, body text)
    join webhook_subscriptions s on s.workspace_id = e.workspace_id
    where s.active
      and (s.events @> '["*"]'::jsonb or s.events @> jsonb_build_array(e.event_type))
      and (s.recipe_id is null or s.recipe_id = e.recipe_id)
      and s.created_at <= coalesce(e.since, app_now())
    on conflict (subscription_id, event_key) do nothing`.execute(db)
  return Number(written.numAffectedRows ?? 0)
}
