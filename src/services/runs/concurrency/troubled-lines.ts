import { sql, type Kysely, type Transaction } from 'kysely'
import type { Clock, Log } from '../../../context.ts'
import type { Database } from '../../../db/database.ts'
import { databaseOf } from '../../../db/scope.ts'
import { isOfStatement } from './each-alone.ts'

/** Who hands slots on. */
export interface Hand {
  log?: Pick<Log, 'error'>
  clock?: Pick<Clock, 'monotonicMs'>
}

/** Between two tries to give one run its slot. */
const firstPauseMs = 1_000
const longestPauseMs = 60_000

/** Runs of a line that could not be given its slot, and when each is tried again. */
type PutOff = Map<string, { pauseMs: number; dueMs: number }>
const known = new WeakMap<object, Map<string, PutOff>>()

/** Lines with such runs, as this process has met them: what a run meets would undo the handing on for all that go with it. */
export function troubledLines(db: Kysely<Database>): Map<string, PutOff> {
  let lines = known.get(databaseOf(db))
  if (!lines) known.set(databaseOf(db), (lines = new Map()))
  return lines
}

/**
 * As `pass_slots` does, but one run a transaction. The note that a slot is free stays for as long as somebody in the line
 * could still have it, so whatever fails, and whoever dies, the slot is handed on by the next who reads the note.
 */
export async function passAlone(db: Kysely<Database>, counter: string, { log, clock }: Hand): Promise<string[]> {
  const lines = troubledLines(db)
  const putOff: PutOff = lines.get(counter) ?? new Map()
  const nowMs = clock?.monotonicMs() ?? performance.now()
  const passedOver = [...putOff].flatMap(([run, { dueMs }]) => (dueMs > nowMs ? [run] : []))
  // Each by its id: one that is smaller than these may still be to commit, and nobody has read that one.
  const notes = await sql<{ ids: string | null }>`
    select array_agg(id)::text as ids from freed_slots where counter = ${counter}`.execute(db)
  const read = notes.rows[0]?.ids ?? null
  if (read === null) {
    // Nothing has become free since. Who has left the line in another way is remembered no longer than a pause.
    if (passedOver.length === 0) lines.delete(counter)
    return []
  }
  const ready: string[] = []
  let left: Left | null = null
  while (left === null) {
    const meeting: { run: string | null } = { run: null }
    try {
      const given = await db.transaction().execute((tx) => giveFirst(tx, counter, passedOver, meeting))
      if ('left' in given) left = given.left
      else {
        putOff.delete(given.run)
        ready.push(given.run)
      }
    } catch (error) {
      if (!isOfStatement(error)) throw error
      const { run } = meeting
      log?.error('A slot could not be handed on.', { counter, run_id: run, error })
      // Of the line itself: its note is there for the next pass.
      if (run === null) left = 'somebody'
      else {
        const pauseMs = Math.min(longestPauseMs, 2 * (putOff.get(run)?.pauseMs ?? firstPauseMs / 2))
        putOff.set(run, { pauseMs, dueMs: nowMs + pauseMs })
        passedOver.push(run)
      }
    }
  }
  if (left !== 'somebody')
    await sql`delete from freed_slots where counter = ${counter} and id = any(${read}::text::bigint[])`.execute(db)
  if (left === 'somebody' || passedOver.length > 0) lines.set(counter, putOff)
  else lines.delete(counter)
  return ready
}

/** Who could still have the slot when a pass ends. */
type Left = 'nobody' | 'no room' | 'somebody'

/** The first in line that is not passed over gets the slot, where there is one. `meeting` is told who that is to be. */
async function giveFirst(
  tx: Transaction<Database>,
  counter: string,
  passedOver: readonly string[],
  meeting: { run: string | null },
): Promise<{ run: string } | { left: Left }> {
  await sql`select lock_counters(array[${counter}::uuid])`.execute(tx)
  const line = sql`from held_runs h join runs r on r.id = h.run_id
    where h.line = ${counter} and h.reason = 'slot' and r.state = 'blocked'`
  const found = await sql<{ run_id: string }>`
    select h.run_id ${line} and h.run_id <> all(${`{${passedOver.join(',')}}`}::text::uuid[])
    order by h.priority desc, h.since, h.run_id limit 1 for update of h, r skip locked`.execute(tx)
  const first = found.rows[0]?.run_id
  if (first === undefined) {
    const others = await sql`select ${line} limit 1`.execute(tx)
    return { left: others.rows.length > 0 ? 'somebody' : 'nobody' }
  }
  const slots = await sql<{ free: boolean }>`
    select s.state <> 'wanted' or has_room(s) as free from run_slots s
    where s.run_id = ${first} and s.counter = ${counter}`.execute(tx)
  if (slots.rows[0]?.free === false) return { left: 'no room' }
  meeting.run = first
  await sql`
    with given as (
      update run_slots set state = 'held' where run_id = ${first} and counter = ${counter}
    ), gone as (
      delete from held_runs where run_id = ${first} returning run_id, workspace_id, priority, since
    ), freed as (
      update runs set state = 'queued', slotted = true where id = ${first}
    )
    insert into run_queue (run_id, workspace_id, priority, ready_at)
    select run_id, workspace_id, priority, since from gone on conflict do nothing`.execute(tx)
  return { run: first }
}
