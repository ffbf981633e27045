import { sql, type Kysely } from 'kysely'
import type { Database } from '../../../db/database.ts'

/** Notes that one pass reads at most. */
const mostNotes = 200

/**
 * Hands on what has become free: the first in line gets the slot and goes to the queue. Whoever ends or parks a run that
 * held one calls it afterwards; the tick calls it for those who died in between. Answers the runs that are ready by it.
 */
export async function passSlots(db: Kysely<Database>): Promise<string[]> {
  const { rows } = await sql<{ run_id: string }>`
    with noted as (
      delete from freed_slots where id = any(array(
        select id from freed_slots order by id limit ${mostNotes}::integer for update skip locked))
      returning counter
    )
    select passed.run_id from (select array_agg(distinct counter) as counters from noted) n
    cross join lateral pass_slots(n.counters) as passed(run_id)
    where n.counters is not null`.execute(db)
  return rows.map((row) => row.run_id)
}

/**
 * Puts right what nothing should have put wrong: slots that are held by runs which have none to hold, lines before a free
 * slot, blocked runs in no line. What it frees is handed on by the next pass. Returns how much it mended.
 */
export async function reconcileSlots(db: Kysely<Database>): Promise<number> {
  const { rows } = await sql<{ mended: number }>`
    with wrong as (
      select s.run_id, s.counter, s.scope, s.state, r.state as run_state from run_slots s join runs r on r.id = s.run_id
      where s.state <> 'over' and (r.state in ('succeeded', 'failed', 'canceled', 'timed_out')
        or s.state = 'held' and (r.state = 'paused' or r.state = 'waiting' and s.scope = 'workspace'))
      order by s.run_id, s.counter limit 1000 for update of r, s skip locked
    ), given_back as (
      update run_slots s set state = case when w.run_state in ('paused', 'waiting') then 'wanted' else 'over' end
      from wrong w where s.run_id = w.run_id and s.counter = w.counter
    ), lines as (
      select distinct on (h.line) h.line, s from held_runs h
      join run_slots s on s.run_id = h.run_id and s.counter = h.line
      where h.reason = 'slot' order by h.line, h.priority desc, h.since, h.run_id
    ), noted as (
      insert into freed_slots (counter)
      select counter from wrong where state = 'held'
      union select l.line from lines l where has_room(l.s)
      returning counter
    ), lost as (
      select r.id, r.workspace_id, r.priority from runs r
      where r.state = 'blocked' and not exists (select from held_runs h where h.run_id = r.id)
      limit 1000 for update skip locked
    ), found as (
      update runs r set state = 'queued' from lost where r.id = lost.id returning r.id
    ), queued as (
      insert into run_queue (run_id, workspace_id, priority) select id, workspace_id, priority from lost
      on conflict do nothing
    )
    select ((select count(*) from wrong) + (select count(*) from noted) + (select count(*) from found))::integer as mended`.execute(
    db,
  )
  return rows[0]?.mended ?? 0
}
