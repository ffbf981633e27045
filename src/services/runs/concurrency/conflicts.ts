import { sql, type Kysely } from 'kysely'
import type { Runtime } from '../../../context.ts'
import type { Database } from '../../../db/database.ts'
import { toJsonText } from '../../../db/json.ts'
import { cancelRunTrees, tellOf } from '../children.ts'
import type { PolicedRun } from './admit.ts'
import type { WantedSlot } from './policy.ts'

/** Runs that one transaction cancels at most for others of their limit: each holds its row until the commit. */
const mostCanceled = 100

/** Runs that are under one limit and have not ended. */
interface Members {
  count: number
  /** The oldest of them first: all of them, or more than may be canceled at once. */
  oldest: string[]
}

export interface Verdicts {
  /** Runs that are skipped for others, and why. */
  skipped: Map<string, string>
  /** Runs that end for younger ones, and why. */
  canceled: Map<string, string>
  /** Limits under which more have to end than one transaction cancels, and the run that they end for. */
  crowded: Map<string, { runId: string; size: number }>
}

/** Who is under the limits that decide by others. The caller holds their locks, and has asked for no slot of its own yet. */
export async function membersOf(tx: Kysely<Database>, runs: readonly PolicedRun[]): Promise<Map<string, Members>> {
  const most = new Map<string, number>()
  for (const { counter, size, onConflict } of runs.flatMap(({ policy }) => policy.slots))
    if (onConflict !== 'queue') most.set(counter, Math.max(size + mostCanceled, most.get(counter) ?? 0))
  const members = new Map([...most.keys()].map((counter): [string, Members] => [counter, { count: 0, oldest: [] }]))
  if (most.size === 0) return members
  const asked = toJsonText([...most].map(([counter, limit]) => ({ counter, limit })))
  const { rows } = await sql<{ counter: string; count: number; oldest: string[] }>`
    select c.counter, max(m.members)::integer as count, jsonb_agg(m.run_id order by m.place) as oldest
    from jsonb_to_recordset(${asked}::text::jsonb) as c(counter uuid, "limit" integer)
    cross join lateral (
      select s.run_id, count(*) over () as members, row_number() over (order by r.created_at, r.id) as place
      from run_slots s join runs r on r.id = s.run_id
      where s.counter = c.counter and s.state <> 'over'
      order by place limit c."limit") m
    group by c.counter`.execute(tx)
  for (const { counter, count, oldest } of rows) members.set(counter, { count, oldest })
  return members
}

/** One run after the other, as if each had come alone. `wanted`: the slots that have been asked for, of each run. */
export function resolveConflicts(
  runs: readonly PolicedRun[],
  wanted: ReadonlyMap<string, ReadonlySet<string>>,
  members: ReadonlyMap<string, Members>,
): Verdicts {
  const verdicts: Verdicts = { skipped: new Map(), canceled: new Map(), crowded: new Map() }
  const { skipped, canceled, crowded } = verdicts
  const leave = (id: string) => {
    for (const line of members.values()) {
      const at = line.oldest.indexOf(id)
      if (at < 0) continue
      line.oldest.splice(at, 1)
      line.count -= 1
    }
  }
  for (const { id, policy } of runs) {
    const own = policy.slots.flatMap((slot) => {
      const line = wanted.get(id)?.has(slot.counter) ? members.get(slot.counter) : undefined
      return line ? [{ slot, line }] : []
    })
    const full = own.find(({ slot, line }) => slot.onConflict === 'skip' && line.count >= slot.size)
    if (full) {
      const { size } = full.slot
      skipped.set(id, `The limit of ${size} executions ${what(full.slot)} is reached, and on_conflict is skip.`)
      continue
    }
    for (const { slot, line } of own) {
      const { counter, size } = slot
      // The oldest of them, as many as it takes for this one to have a slot.
      while (slot.onConflict === 'cancel_previous' && line.count >= size) {
        const previous = canceled.size < mostCanceled ? line.oldest[0] : undefined
        if (previous === undefined) {
          crowded.set(counter, { runId: id, size })
          break
        }
        canceled.set(previous, placeTaken(id, slot))
        leave(previous)
      }
      // Behind those that are not listed its own place is not known.
      if (line.oldest.length === line.count) line.oldest.push(id)
      line.count += 1
    }
  }
  return verdicts
}

const what = ({ key }: Pick<WantedSlot, 'key'>) => (key === null ? 'of this recipe' : `with the key ${key}`)

const placeTaken = (runId: string, slot: Pick<WantedSlot, 'key'>) =>
  `Execution ${runId} ${what(slot)} takes its place (cancel_previous).`

/** Leaves word of limits with more to cancel than fits a transaction. */
export async function noteCrowded(tx: Kysely<Database>, crowded: Verdicts['crowded']): Promise<void> {
  if (crowded.size === 0) return
  const notes = toJsonText([...crowded].map(([counter, { runId, size }]) => ({ counter, run_id: runId, size })))
  await sql`
    insert into crowded_slots (counter, run_id, size)
    select counter, run_id, size from jsonb_to_recordset(${notes}::text::jsonb) as n(counter uuid, run_id uuid, size integer)
    order by counter
    on conflict (counter) do update set run_id = excluded.run_id, size = excluded.size`.execute(tx)
}

/**
 * Cancels for one run what its trigger has left: runs older than it that are more than its limit lets stay beside it. True
 * where there may be more to do.
 */
export async function cancelCrowded(runtime: Runtime): Promise<boolean> {
  const done = await runtime.db.transaction().execute(async (tx) => {
    const notes = await sql<{ counter: string; run_id: string; size: number; key: string | null }>`
      select c.counter, c.run_id, c.size, s.key from crowded_slots c
      left join run_slots s on s.run_id = c.run_id and s.counter = c.counter
      order by c.counter limit 1 for update of c skip locked`.execute(tx)
    const note = notes.rows[0]
    if (!note) return null
    const { rows } = await sql<{ run_id: string }>`
      with older as (
        select s.run_id, row_number() over (order by r.created_at desc, r.id desc) as place, r.pending_commands
        from run_slots s join runs r on r.id = s.run_id join runs own on own.id = ${note.run_id}
        where s.counter = ${note.counter} and s.state <> 'over' and (r.created_at, r.id) < (own.created_at, own.id)
      )
      select run_id from older where place >= ${note.size}::integer and pending_commands = 0
      order by place desc limit ${mostCanceled}::integer`.execute(tx)
    if (rows.length < mostCanceled) await sql`delete from crowded_slots where counter = ${note.counter}`.execute(tx)
    const ids = rows.map((row) => row.run_id)
    return cancelRunTrees(tx, ids, placeTaken(note.run_id, note))
  })
  if (done) await tellOf(runtime, done)
  return done !== null
}
