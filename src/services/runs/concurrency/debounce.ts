import { sql, type Transaction } from 'kysely'
import type { Database } from '../../../db/database.ts'
import { jsonb } from '../../../db/json.ts'
import type { Json, JsonObject } from '../../../lib/json.ts'
import { admitToLimits, type Admission } from './admit.ts'
import type { StartPolicy } from './policy.ts'

/** A further trigger, with all that its own run would have been made of. */
export interface FurtherTrigger {
  workspaceId: string
  recipeVersion: number
  input: Json
  trigger: JsonObject
  stateKey: string | null
  priority: number
  timeoutMs: number | null
  idempotencyKey: string | null
  requestHash: string
  policy: StartPolicy & { debounce: NonNullable<StartPolicy['debounce']> }
}

/**
 * Takes a trigger into the run that waits for triggers of its line to cease: the run starts a period after this one, with
 * its input, under the limits that this input says. Answers the run; null where none waits. The caller holds the locks of the
 * line and of `linesOf`. Call `tellOf` after the commit.
 */
export async function joinDebounced(
  tx: Transaction<Database>,
  further: FurtherTrigger,
): Promise<{ id: string; admission: Admission } | null> {
  const { line, periodMs, maxWaitMs } = further.policy.debounce
  // The run first, as everybody locks; then what is known of it holds until the commit.
  const { rows } = await sql<{ run_id: string }>`
    select h.run_id from held_runs h join runs r on r.id = h.run_id
    where h.line = ${line} and h.reason = 'debounce' and r.state = 'queued' for update of r`.execute(tx)
  const runId = rows[0]?.run_id
  if (runId === undefined) return null
  const moved = await sql`
    with moved as (
      update held_runs set until = least(
        app_now() + ${periodMs}::double precision * interval '1 millisecond',
        since + ${maxWaitMs}::double precision * interval '1 millisecond'),
        priority = ${further.priority}::integer
      where run_id = ${runId} and reason = 'debounce' returning run_id, until
    ), joined as (
      insert into joined_triggers (workspace_id, idempotency_key, request_hash, run_id)
      select ${further.workspaceId}::uuid, key, ${further.requestHash}, run_id
      from moved cross join (select ${further.idempotencyKey}::text as key) k where key is not null
    ), changed as (
      update runs r set last_seq = r.last_seq + 1, input = ${jsonb(further.input)}, trigger = ${jsonb(further.trigger)},
        recipe_version = ${further.recipeVersion}::integer, state_key = ${further.stateKey}::text,
        priority = ${further.priority}::integer, timeout_ms = ${further.timeoutMs}::double precision
      from moved where r.id = moved.run_id returning r.id, r.last_seq
    ), forgotten as (
      -- What the key of its limits says of another input may be another value.
      delete from run_slots where run_id = ${runId}
    )
    insert into run_events (run_id, seq, type, data)
    select id, last_seq, 'execution.debounced', jsonb_build_object('trigger', ${jsonb(further.trigger)},
      'until', to_char(until at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))
    from changed cross join moved
    returning run_id`.execute(tx)
  if (moved.rows.length === 0) return null
  return { id: runId, admission: await admitToLimits(tx, [{ ...further, id: runId }]) }
}
