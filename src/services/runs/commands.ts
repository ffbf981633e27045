import { sql, type Transaction } from 'kysely'
import type { Database } from '../../db/database.ts'
import { jsonb } from '../../db/json.ts'
import { uuidv7 } from '../../lib/ids.ts'

export type CommandOutcome = 'applied' | 'left-for-owner' | 'already-ended' | 'unknown'

/**
 * Cancels a run. Under the run's row lock: whoever holds a live lease finds the command in its inbox and aborts what
 * is in flight; a run that nobody holds is ended here, and the raised fence keeps out an owner that only thinks it
 * still has it. Call `wake.command` after the commit when it was left for the owner.
 */
export async function requestCancel(tx: Transaction<Database>, runId: string, reason: string): Promise<CommandOutcome> {
  const run = await tx
    .selectFrom('runs')
    .select(['state', sql<boolean>`coalesce(lease_until > app_now(), false)`.as('leased')])
    .where('id', '=', runId)
    .forUpdate()
    .executeTakeFirst()
  if (!run) return 'unknown'
  if (['succeeded', 'failed', 'canceled', 'timed_out'].includes(run.state)) return 'already-ended'
  if (run.state === 'running' && run.leased) {
    await tx
      .insertInto('run_inbox')
      .values({ id: uuidv7(), run_id: runId, kind: 'cancel', payload: jsonb({ reason }) })
      .execute()
    await tx
      .updateTable('runs')
      .set({ pending_commands: sql`pending_commands + 1` })
      .where('id', '=', runId)
      .execute()
    return 'left-for-owner'
  }
  await sql`
    with ended as (
      update runs set state = 'canceled', finished_at = app_now(), fence = fence + 1, rev = rev + 1,
        last_seq = last_seq + 1, lease_owner = null, lease_until = null, pending_commands = 0,
        error = ${jsonb({ kind: 'canceled', detail: reason })}
      where id = ${runId} returning id, last_seq
    ), left_queue as (
      delete from run_queue where run_id = ${runId}
    ), left_waits as (
      delete from waits where run_id = ${runId}
    ), steps as (
      update run_steps set status = 'canceled', finished_at = app_now(), wake_at = null
      where run_id = ${runId} and status in ('pending', 'running', 'waiting')
    ), inbox as (
      update run_inbox set applied_at = app_now() where run_id = ${runId} and applied_at is null
    )
    insert into run_events (run_id, seq, type, data)
    select id, last_seq, 'execution.canceled', ${jsonb({ reason })} from ended`.execute(tx)
  return 'applied'
}
