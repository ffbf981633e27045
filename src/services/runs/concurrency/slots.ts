import { sql, type Kysely } from 'kysely'
import type { Database } from '../../../db/database.ts'
import { isOfStatement } from './each-alone.ts'
import { passAlone, troubledLines, type Hand } from './troubled-lines.ts'

/** Notes that one pass reads at most. */
const mostNotes = 200

/**
 * Hands on what has become free: the first in line gets the slot and goes to the queue. Whoever ends or parks a run that
 * held one calls it afterwards; the tick calls it for those who died in between. A run that cannot be given its slot waits
 * a while for the next try, and the next in its line gets it. Answers the runs that are ready by it.
 */
export async function passSlots(db: Kysely<Database>, hand: Hand = {}): Promise<string[]> {
  const lines = troubledLines(db)
  const ready: string[] = []
  let alone = [...lines.keys()]
  try {
    ready.push(...(await passTogether(db, alone)))
  } catch (error) {
    if (!isOfStatement(error)) throw error
    const noted = await sql<{ counter: string }>`
      select distinct counter from (select counter from freed_slots order by id limit ${mostNotes}::integer) n`.execute(
      db,
    )
    alone = [...new Set([...alone, ...noted.rows.map(({ counter }) => counter)])]
  }
  for (const counter of alone) ready.push(...(await passAlone(db, counter, hand)))
  return ready
}

async function passTogether(db: Kysely<Database>, except: readonly string[]): Promise<string[]> {
  const { rows } = await sql<{ run_id: string }>`
    with noted as (
      delete from freed_slots where id = any(array(
        select id from freed_slots where counter <> all(${`{${except.join(',')}}`}::text::uuid[])
        order by id limit ${mostNotes}::integer for update skip locked))
      returning counter
    )
    select passed.run_id from (select array_agg(distinct counter) as counters from noted) n
    cross join lateral pass_slots(n.counters) as passed(run_id)
    where n.counters is not null`.execute(db)
  return rows.map((row) => row.run_id)
}

/** Where the look at all slots has come to: the key of the last row that it has seen. */
export interface SlotCursor {
  counter: string
  state: string
  run_id: string
}

/** Rows that one look reads at most. */
const mostLooked = 5_000

/**
 * Puts right what nothing should have put wrong: slots that are held by runs which have none to hold, lines before a free
 * slot that nobody has noted, blocked runs in no line, runs that began beside the setting of their workspace's limit and are
 * not counted. What it frees is handed on by the next pass. Looks at a part of the slots, behind `after`; `next` is null
 * at their end.
 */
export async function reconcileSlots(
  db: Kysely<Database>,
  after: SlotCursor | null = null,
  limit = mostLooked,
): Promise<{ mended: number; next: SlotCursor | null }> {
  const { rows } = await sql<{ mended: number; seen: number; last: SlotCursor | null }>`
    with part as materialized (
      select counter, state, run_id from run_slots where state <> 'over' and ${
        after
          ? sql`(counter, state, run_id) > (${after.counter}::uuid, ${after.state}, ${after.run_id}::uuid)`
          : sql`true`
      }
      order by counter, state, run_id limit ${limit}::integer
    ), wrong as (
      select s.run_id, s.counter, s.scope, s.state, r.state as run_state
      from part p join run_slots s on s.run_id = p.run_id and s.counter = p.counter join runs r on r.id = s.run_id
      where s.state <> 'over' and (r.state in ('succeeded', 'failed', 'canceled', 'timed_out')
        or s.state = 'held' and (r.state = 'paused' or r.state = 'waiting' and s.scope = 'workspace'))
      order by s.run_id, s.counter for update of r, s skip locked
    ), given_back as (
      update run_slots s set state = case when w.run_state in ('paused', 'waiting') then 'wanted' else 'over' end
      from wrong w where s.run_id = w.run_id and s.counter = w.counter
    ), noted as (
      insert into freed_slots (counter)
      select counter from wrong where state = 'held'
      union select c.counter from (
        select distinct counter from part where state = 'wanted' and counter not in (select counter from freed_slots)
      ) c
      cross join lateral (
        select run_id from held_runs h where h.line = c.counter and h.reason = 'slot'
        order by h.priority desc, h.since, h.run_id limit 1
      ) first
      join run_slots s on s.run_id = first.run_id and s.counter = c.counter where has_room(s)
      returning counter
    ), lost as (
      select r.id, r.workspace_id, r.priority from runs r
      where r.id = any(array(select run_id from part where state = 'wanted')) and r.state = 'blocked'
        and not exists (select from held_runs h where h.run_id = r.id)
      for update skip locked
    ), found as (
      update runs r set state = 'queued' from lost where r.id = lost.id returning r.id
    ), queued as (
      insert into run_queue (run_id, workspace_id, priority) select id, workspace_id, priority from lost
      on conflict do nothing
    ), uncounted as (
      select r.id, r.workspace_id, l.runs from runs r join workspace_limits l on l.workspace_id = r.workspace_id
      where r.state = 'running'
        and not exists (select from run_slots s where s.run_id = r.id and s.counter = r.workspace_id)
      limit ${limit}::integer for update of r skip locked
    ), counted as (
      insert into run_slots (run_id, counter, workspace_id, scope, size, state)
      select id, workspace_id, workspace_id, 'workspace', runs, 'held' from uncounted on conflict do nothing
    ), marked as (
      update runs r set slotted = true from uncounted u where r.id = u.id returning r.id
    )
    select ((select count(*) from wrong) + (select count(*) from noted) + (select count(*) from found)
        + (select count(*) from marked))::integer as mended,
      (select count(*) from part)::integer as seen,
      (select to_jsonb(p) from part p order by counter desc, state desc, run_id desc limit 1) as last`.execute(db)
  const { mended = 0, seen = 0, last = null } = rows[0] ?? {}
  return { mended, next: seen < limit ? null : last }
}
