import { sql, type Kysely, type RawBuilder } from 'kysely'
import type { Log } from '../../../context.ts'
import type { Database } from '../../../db/database.ts'
import { untilMs } from '../claim.ts'
import { isOfStatement } from './each-alone.ts'

/**
 * Moves to the queue what is held until a time that has come: starts that were put off, and blocked runs whose own time is
 * up, which are to end and need no slot for it. One that cannot be moved is put off and holds up no other. Answers the ids
 * of those that were.
 */
export async function wakeHeldRuns(db: Kysely<Database>, limit: number, log?: Pick<Log, 'error'>): Promise<string[]> {
  const due = sql`held_runs.until <= app_now()`
  return orEachAlone(db, due, limit, log, (only) => wakeHeld(db, limit, only))
}

async function wakeHeld(db: Kysely<Database>, limit: number, only: string | null): Promise<string[]> {
  const { rows } = await sql<{ run_id: string }>`
    with due as materialized (
      select h.run_id from held_runs h join runs r on r.id = h.run_id
      where h.until <= app_now()${only === null ? sql`` : sql` and h.run_id = ${only}`}
      order by h.until limit ${limit} for update of h, r skip locked
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

/** Before what cannot be moved is tried again. */
const putOffSeconds = 60

/** All in one statement; where that fails, each in its own. What fails by itself has another time from then on. */
async function orEachAlone(
  db: Kysely<Database>,
  which: RawBuilder<unknown>,
  limit: number,
  log: Pick<Log, 'error'> | undefined,
  move: (only: string | null) => Promise<string[]>,
): Promise<string[]> {
  try {
    return await move(null)
  } catch (error) {
    // A transaction that has failed takes nothing more.
    if (!isOfStatement(error) || db.isTransaction) throw error
  }
  const { rows } = await sql<{ run_id: string }>`
    select run_id from held_runs where ${which} order by until, run_id limit ${limit}`.execute(db)
  const moved: string[] = []
  for (const { run_id } of rows) {
    try {
      moved.push(...(await move(run_id)))
    } catch (error) {
      if (!isOfStatement(error)) throw error
      log?.error('An execution that is held back could not be moved to the queue and is put off.', { run_id, error })
      await sql`
        update held_runs set until = app_now() + ${putOffSeconds}::integer * interval '1 second'
        where run_id = ${run_id} and coalesce(until <= app_now(), true)`.execute(db)
    }
  }
  return moved
}

/**
 * Milliseconds until the first of them is due; null when none has a time. What is due already and was left because somebody
 * is just changing it is looked at again in a second.
 */
export async function nextHeldInMs(db: Kysely<Database>): Promise<number | null> {
  const { rows } = await sql<{ ms: number | null }>`
    select least(
      (select extract(epoch from min(until) - app_now()) * 1000 from held_runs where until > app_now()),
      (select 1000 where exists (select from held_runs where until <= app_now())))::double precision as ms`.execute(db)
  return untilMs(rows[0]?.ms)
}

/** Rows that one sweep moves at most. */
const mostSwept = 1_000

/**
 * Takes what is ready in paused workspaces out of the queue, so that no claim walks past it for as long as the pause lasts,
 * and brings back what was taken out beside the end of a pause. Answers what is ready by it.
 */
export async function sweepPaused(db: Kysely<Database>, log?: Pick<Log, 'error'>): Promise<string[]> {
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
    log,
  )
}

/** What a workspace's pause has kept from the queue goes back to its place in it. */
export const releaseWorkspace = (db: Kysely<Database>, workspaceId: string): Promise<string[]> =>
  releasePaused(db, sql`held_runs.workspace_id = ${workspaceId} and held_runs.reason = 'paused'`)

/**
 * In the order of ids, and without waiting: what somebody else is just changing is left to the next sweep. Of a run that has
 * ended or was paused meanwhile only the row goes.
 */
async function releasePaused(
  db: Kysely<Database>,
  which: RawBuilder<unknown>,
  log?: Pick<Log, 'error'>,
): Promise<string[]> {
  // A time it has only where it could not be released before; when that comes it is woken as all that have one.
  const now = sql`${which} and held_runs.until is null`
  return orEachAlone(db, now, mostSwept, log, (only) =>
    release(db, only === null ? now : sql`${now} and held_runs.run_id = ${only}`),
  )
}

async function release(db: Kysely<Database>, which: RawBuilder<unknown>): Promise<string[]> {
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
