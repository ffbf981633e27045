import { sql, type Kysely } from 'kysely'
import type { Database } from '../../../db/database.ts'
import { toJsonText } from '../../../db/json.ts'
import type { JsonObject } from '../../../lib/json.ts'

interface Unstarted {
  id: string
  state: 'failed' | 'canceled'
  error: JsonObject
  /** What the log says of it. */
  data: JsonObject
}

/** Ends runs that have not begun and that nobody but this transaction can have changed. */
export async function endUnstarted(tx: Kysely<Database>, ends: readonly Unstarted[]): Promise<void> {
  if (ends.length === 0) return
  const rows = toJsonText(ends)
  await sql`
    with given as materialized (
      select * from jsonb_to_recordset(${rows}::text::jsonb) as g(id uuid, state text, error jsonb, data jsonb)
    ), left_queue as (
      delete from run_queue q using given g where q.run_id = g.id
    ), let_go as (
      delete from held_runs h using given g where h.run_id = g.id
    ), ended as (
      update runs r set state = g.state, finished_at = app_now(), fence = r.fence + 1, rev = r.rev + 1,
        last_seq = r.last_seq + 1, error = g.error
      from given g where r.id = g.id returning r.id, r.last_seq, r.state, g.data
    )
    insert into run_events (run_id, seq, type, data)
    select id, last_seq, 'execution.' || state, data from ended`.execute(tx)
}

/** Ends runs that this transaction has just inserted, as failed: there was nobody whom their faults could be told as an answer. */
export const failUnstarted = (tx: Kysely<Database>, kind: string, faults: ReadonlyMap<string, string>) =>
  endUnstarted(
    tx,
    [...faults].map(([id, detail]) => {
      const error = { kind, detail }
      return { id, state: 'failed', error, data: { error } }
    }),
  )
