import { sql, type Transaction } from 'kysely'
import type { Database } from '../../db/database.ts'
import { jsonb } from '../../db/json.ts'
import type { RunState } from '../../db/tables/runs.table.ts'
import { isWaiting, leaveInInbox } from './commands.ts'
import { isEnd } from './states.ts'

/** `refused`: it makes no sense in the state that the run is in. */
export type PauseOutcome = 'applied' | 'left-for-owner' | 'already-so' | 'refused' | 'unknown'

const either = ['pause', 'resume'] as const

/**
 * Lets a run stand still. Under the run's row lock: an owner with a live lease finds the command in its inbox and pauses at
 * the next step boundary; a run that nobody holds is paused here. It leaves the queue and its waits: when it is resumed its
 * steps wait again until the times that their rows tell, which go by meanwhile. So does the time of a start that was put off.
 */
export async function requestPause(
  tx: Transaction<Database>,
  runId: string,
  reason: string | null,
): Promise<PauseOutcome> {
  const run = await lockRun(tx, runId)
  if (!run) return 'unknown'
  if (isEnd(run.state)) return 'refused'
  if (run.state === 'paused') return 'already-so'
  if (await isWaiting(tx, runId, 'cancel')) return 'refused'
  if (run.state === 'running' && run.leased) {
    if (await isWaiting(tx, runId, 'pause', either)) return 'already-so'
    await leaveInInbox(tx, runId, 'pause', { reason })
    return 'left-for-owner'
  }
  await sql`
    with taken as (
      update run_inbox set applied_at = app_now()
      where run_id = ${runId} and applied_at is null and kind in ('pause', 'resume') returning id
    ), paused as (
      update runs set state = 'paused', fence = fence + 1, last_seq = last_seq + 1,
        lease_owner = null, lease_until = null, pending_commands = pending_commands - (select count(*) from taken)
      where id = ${runId} returning id, last_seq
    ), left_queue as (
      delete from run_queue where run_id = ${runId}
    ), let_go as (
      delete from held_runs where run_id = ${runId} and reason in ('slot', 'paused')
    ), left_waits as (
      delete from waits where run_id = ${runId}
    ), steps as (
      update run_steps set status = 'pending' where run_id = ${runId} and status = 'running'
    )
    insert into run_events (run_id, seq, type, data)
    select id, last_seq, 'execution.paused', ${jsonb({ reason })} from paused`.execute(tx)
  return 'applied'
}

/** Lets a paused run go on, or withdraws a pause that has not taken effect. Call `wake.runReady` after the commit. */
export async function requestResume(tx: Transaction<Database>, runId: string): Promise<PauseOutcome> {
  const run = await lockRun(tx, runId)
  if (!run) return 'unknown'
  if (run.state !== 'paused') {
    if (isEnd(run.state) || !(await isWaiting(tx, runId, 'pause', either))) return 'refused'
    await leaveInInbox(tx, runId, 'resume', {})
    return 'left-for-owner'
  }
  await sql`
    with resumed as (
      update runs set state = 'queued' where id = ${runId} returning id, workspace_id, priority
    )
    insert into run_queue (run_id, workspace_id, priority) select id, workspace_id, priority from resumed
    where not exists (select from held_runs h where h.run_id = resumed.id and h.until > app_now())`.execute(tx)
  return 'applied'
}

async function lockRun(
  tx: Transaction<Database>,
  runId: string,
): Promise<{ state: RunState; leased: boolean } | undefined> {
  return tx
    .selectFrom('runs')
    .select(['state', sql<boolean>`coalesce(lease_until > app_now(), false)`.as('leased')])
    .where('id', '=', runId)
    .forUpdate()
    .executeTakeFirst()
}
