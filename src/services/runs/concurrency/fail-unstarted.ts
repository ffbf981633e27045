import { sql, type Kysely } from 'kysely'
import type { Database } from '../../../db/database.ts'
import { jsonb } from '../../../db/json.ts'

/** Ends a run that this transaction has just inserted, as failed: there was nobody whom its fault could be told as an answer. */
export async function failUnstarted(tx: Kysely<Database>, runId: string, detail: string): Promise<void> {
  const error = { kind: 'start_key', detail }
  await sql`
    with left_queue as (
      delete from run_queue where run_id = ${runId}
    ), failed as (
      update runs set state = 'failed', finished_at = app_now(), rev = rev + 1, last_seq = last_seq + 1,
        error = ${jsonb(error)}
      where id = ${runId} returning id, last_seq
    )
    insert into run_events (run_id, seq, type, data)
    select id, last_seq, 'execution.failed', ${jsonb({ error })} from failed`.execute(tx)
}
