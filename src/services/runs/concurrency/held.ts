import { sql, type Kysely } from 'kysely'
import type { Database } from '../../../db/database.ts'
import { untilMs } from '../claim.ts'

/**
 * Moves to the queue what is held until a time that has come: starts that were put off, and blocked runs whose own time is
 * up, which are to end and need no slot for it. Answers their ids.
 */
export async function wakeHeldRuns(db: Kysely<Database>, limit: number): Promise<string[]> {
  const { rows } = await sql<{ run_id: string }>`
    with due as materialized (
      select h.run_id from held_runs h join runs r on r.id = h.run_id
      where h.until <= app_now() order by h.until limit ${limit} for update of h, r skip locked
    ), gone as (
      delete from held_runs h using due where h.run_id = due.run_id
    ), unblocked as (
      update runs r set state = 'queued' from due where r.id = due.run_id and r.state = 'blocked'
    )
    insert into run_queue (run_id, workspace_id, priority)
    select r.id, r.workspace_id, r.priority from runs r join due on due.run_id = r.id
    where r.state in ('queued', 'blocked', 'waiting')
    on conflict do nothing returning run_id`.execute(db)
  return rows.map((row) => row.run_id)
}

/** Milliseconds until the first of them is due; null when none has a time. */
export async function nextHeldInMs(db: Kysely<Database>): Promise<number | null> {
  const { rows } = await sql<{ ms: number | null }>`
    select (extract(epoch from min(until) - app_now()) * 1000)::double precision as ms
    from held_runs where until is not null`.execute(db)
  return untilMs(rows[0]?.ms)
}

/** Rows that one sweep moves at most. */
const mostSwept = 1_000

/**
 * Takes what is ready in paused workspaces out of the queue, so that no claim walks past it for as long as the pause lasts,
 * and brings back what was taken out beside the end of a pause. Answers what is ready by it.
 */
export async function sweepPaused(db: Kysely<Database>): Promise<string[]> {
  await sql`
    with swept as (
      delete from run_queue where run_id = any(array(
        select q.run_id from workspace_pauses p
        cross join lateral (
          select run_id from run_queue where workspace_id = p.workspace_id limit ${mostSwept}::integer for update skip locked
        ) q limit ${mostSwept}::integer))
      returning run_id, workspace_id, priority, ready_at
    )
    insert into held_runs (run_id, workspace_id, reason, priority, since)
    select run_id, workspace_id, 'paused', priority, ready_at from swept
    on conflict do nothing`.execute(db)
  return releasePaused(
    db,
    sql`held_runs.reason = 'paused' and not exists (select from workspace_pauses p where p.workspace_id = held_runs.workspace_id)`,
  )
}

/** What a workspace's pause has kept from the queue goes back to its place in it. */
export const releaseWorkspace = (db: Kysely<Database>, workspaceId: string): Promise<string[]> =>
  releasePaused(db, sql`held_runs.workspace_id = ${workspaceId} and held_runs.reason = 'paused'`)

/**
 * In the order of ids, and without waiting: what somebody else is just changing is left to the next sweep. Of a run that has
 * ended or was paused meanwhile only the row goes.
 */
async function releasePaused(db: Kysely<Database>, which: ReturnType<typeof sql>): Promise<string[]> {
  const { rows } = await sql<{ run_id: string }>`
    with released as materialized (
      select held_runs.run_id, r.state from held_runs join runs r on r.id = held_runs.run_id where ${which}
      order by held_runs.run_id for update of held_runs, r skip locked
    ), gone as (
      delete from held_runs h using released where h.run_id = released.run_id
      returning h.run_id, h.workspace_id, h.priority, h.since, released.state
    )
    insert into run_queue (run_id, workspace_id, priority, ready_at)
    select run_id, workspace_id, priority, since from gone where state in ('queued', 'waiting')
    on conflict do nothing returning run_id`.execute(db)
  return rows.map((row) => row.run_id)
}

/**
 * Takes out of the queue what has ended: a cancel beside the end of a pause may leave it there, at the head of it for good.
 * Looks at the queue in parts, behind `after`; answers where it has come to, null at the end.
 */
export async function dropEnded(db: Kysely<Database>, after: string | null, limit = 5_000): Promise<string | null> {
  const { rows } = await sql<{ seen: number; last: string | null }>`
    with part as materialized (
      select run_id from run_queue where ${after === null ? sql`true` : sql`run_id > ${after}::uuid`}
      order by run_id limit ${limit}::integer
    ), ended as (
      select r.id from runs r
      where r.id = any(array(select run_id from part)) and r.state in ('succeeded', 'failed', 'canceled', 'timed_out')
      for update skip locked
    ), dropped as (
      delete from run_queue where run_id = any(array(select id from ended))
    )
    select count(*)::integer as seen, (array_agg(run_id order by run_id desc))[1] as last from part`.execute(db)
  const { seen = 0, last = null } = rows[0] ?? {}
  return seen < limit ? null : last
}

/** What no throttle looks at any more. */
export async function forgetThrottles(db: Kysely<Database>): Promise<void> {
  await sql`
    delete from throttle_lines where line = any(array(
      select line from throttle_lines where until < app_now() limit 1000 for update skip locked))`.execute(db)
}
