import { sql, type Transaction } from 'kysely'
import type { Database } from '../../db/database.ts'
import { jsonb } from '../../db/json.ts'
import type { RunInboxTable } from '../../db/tables/runs.table.ts'
import { uuidv7 } from '../../lib/ids.ts'
import type { JsonObject } from '../../lib/json.ts'
import { isEnd } from './states.ts'

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
  if (isEnd(run.state)) return 'already-ended'
  if (run.state === 'running' && run.leased) {
    if (!(await isWaiting(tx, runId, 'cancel'))) await leaveInInbox(tx, runId, 'cancel', { reason })
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
    ), let_go as (
      delete from held_runs where run_id = ${runId}
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

type CommandKind = RunInboxTable['kind']

/** For whoever holds the run's lease. The caller holds its row. */
export async function leaveInInbox(
  tx: Transaction<Database>,
  runId: string,
  kind: CommandKind,
  payload: JsonObject,
): Promise<void> {
  await tx
    .insertInto('run_inbox')
    .values({ id: uuidv7(), run_id: runId, kind, payload: jsonb(payload) })
    .execute()
  await tx
    .updateTable('runs')
    .set({ pending_commands: sql`pending_commands + 1` })
    .where('id', '=', runId)
    .execute()
}

/** Whether the last command of these kinds that nobody has taken up yet is of this one. */
export async function isWaiting(
  tx: Transaction<Database>,
  runId: string,
  kind: CommandKind,
  among: readonly CommandKind[] = [kind],
): Promise<boolean> {
  const last = await tx
    .selectFrom('run_inbox')
    .select('kind')
    .where('run_id', '=', runId)
    .where('applied_at', 'is', null)
    .where('kind', 'in', [...among])
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    .limit(1)
    .executeTakeFirst()
  return last?.kind === kind
}
