import { sql, type Kysely, type Transaction } from 'kysely'
import type { Database } from '../../../db/database.ts'
import { jsonb, toJsonText } from '../../../db/json.ts'
import { cancelRunTrees, type Cancellation } from '../children.ts'
import { requestCancel } from '../commands.ts'
import type { StartPolicy, WantedSlot } from './policy.ts'

/** A run whose start its recipe has something to say about. */
export interface PolicedRun {
  id: string
  workspaceId: string
  policy: StartPolicy
}

/** What became of new runs besides being queued. */
export interface Admission extends Cancellation {
  /** Runs that ended before they began, as others of their limit had not ended. */
  skipped: Set<string>
}

export const noAdmission = (): Admission => ({ ended: [], commanded: [], skipped: new Set() })

/**
 * Those who decide by what others of the same limit do take turns until the commit. Before everything else that a
 * transaction locks, and in one order, so that no two wait for each other.
 */
export async function lockLines(tx: Kysely<Database>, lines: readonly string[]): Promise<void> {
  if (lines.length === 0) return
  const sorted = toJsonText([...new Set(lines)].toSorted())
  // Another seed than that of the locks under which slots are given: a claim waits for no trigger.
  await sql`
    select pg_advisory_xact_lock(hashtextextended(line, 1))
    from jsonb_array_elements_text(${sorted}::text::jsonb) as line`.execute(tx)
}

/** What a policy decides under a lock. */
export const linesOf = ({ slots, throttle }: StartPolicy): string[] => [
  ...slots.flatMap(({ counter, onConflict }) => (onConflict === 'queue' ? [] : [counter])),
  ...(throttle ? [throttle.line] : []),
]

/**
 * Puts runs that this transaction has just inserted under the limits of their recipes. The caller holds the locks of
 * `linesOf`. Call `tellOf` after the commit.
 */
export async function admitRuns(tx: Transaction<Database>, runs: readonly PolicedRun[]): Promise<Admission> {
  const admission = noAdmission()
  for (const run of runs) {
    const { slots, debounce, throttle } = run.policy
    await wantSlots(tx, run.id, run.workspaceId, slots)
    if (await resolveConflicts(tx, run.id, slots, admission)) continue
    if (debounce) {
      const { line, periodMs, maxWaitMs } = debounce
      const ms = Math.min(periodMs, maxWaitMs ?? Infinity)
      await hold(tx, run.id, 'debounce', line, sql`app_now() + ${ms}::double precision * interval '1 millisecond'`)
    } else if (throttle) {
      const place = await takePlace(tx, run.workspaceId, throttle)
      if (place !== null) await hold(tx, run.id, 'throttle', throttle.line, sql`${place}::text::timestamptz`)
    }
  }
  return admission
}

/** A limit that a run above has a slot of is left out: parent and child would wait for each other. */
export async function wantSlots(
  tx: Kysely<Database>,
  runId: string,
  workspaceId: string,
  slots: readonly WantedSlot[],
): Promise<void> {
  if (slots.length === 0) return
  const rows = toJsonText(slots.map(({ counter, scope, size, key }) => ({ counter, scope, size, key })))
  await sql`
    with recursive above as (
      select parent_run_id as id from runs where id = ${runId} and parent_run_id is not null
      union all
      select r.parent_run_id from above join runs r on r.id = above.id where r.parent_run_id is not null
    ), wanted as (
      insert into run_slots (run_id, counter, workspace_id, scope, size, key)
      select ${runId}::uuid, s.counter, ${workspaceId}::uuid, s.scope, s.size, s.key
      from jsonb_to_recordset(${rows}::text::jsonb) as s(counter uuid, scope text, size integer, key text)
      where not exists (select from above join run_slots o on o.run_id = above.id where o.counter = s.counter and o.state <> 'over')
      returning run_id
    )
    update runs set slotted = true where id in (select run_id from wanted)`.execute(tx)
}

/** True where the run is skipped for another. */
async function resolveConflicts(
  tx: Transaction<Database>,
  runId: string,
  slots: readonly WantedSlot[],
  admission: Admission,
): Promise<boolean> {
  for (const slot of slots) {
    if (slot.onConflict === 'queue') continue
    const others = await othersOf(tx, runId, slot)
    if (others.length < slot.size) continue
    const what = slot.key === null ? 'of this recipe' : `with the key ${slot.key}`
    if (slot.onConflict === 'skip') {
      await skip(tx, runId, `The limit of ${slot.size} executions ${what} is reached, and on_conflict is skip.`)
      admission.ended.push(runId)
      admission.skipped.add(runId)
      return true
    }
    // The oldest of them, as many as it takes for this one to have a slot.
    const previous = others.slice(0, others.length - slot.size + 1)
    const done = await cancelRunTrees(tx, previous, `Execution ${runId} ${what} takes its place (cancel_previous).`)
    admission.ended.push(...done.ended)
    admission.commanded.push(...done.commanded)
  }
  return false
}

/** Runs that are under the same limit and have not ended, the oldest first. None where this run is not under it itself. */
async function othersOf(tx: Transaction<Database>, runId: string, { counter }: WantedSlot): Promise<string[]> {
  const { rows } = await sql<{ run_id: string }>`
    select s.run_id from run_slots s
    where s.counter = ${counter} and s.state <> 'over' and s.run_id <> ${runId}
      and exists (select from run_slots own where own.run_id = ${runId} and own.counter = s.counter)
    order by s.run_id`.execute(tx)
  return rows.map((row) => row.run_id)
}

async function skip(tx: Transaction<Database>, runId: string, reason: string): Promise<void> {
  await requestCancel(tx, runId, reason)
  await tx
    .updateTable('runs')
    .set({ error: jsonb({ kind: 'skipped', detail: reason }) })
    .where('id', '=', runId)
    .execute()
}

/** From the queue to beside it, until a time. The log says so, for whoever wonders why nothing happens. */
async function hold(
  tx: Transaction<Database>,
  runId: string,
  reason: 'debounce' | 'throttle',
  line: string,
  until: ReturnType<typeof sql>,
): Promise<void> {
  await sql`
    with taken as (
      delete from run_queue where run_id = ${runId} returning workspace_id, priority
    ), held as (
      insert into held_runs (run_id, workspace_id, reason, line, priority, until)
      select ${runId}::uuid, workspace_id, ${reason}, ${line}::uuid, priority, ${until} from taken returning until
    ), told as (
      update runs set last_seq = last_seq + 1 where id = ${runId} returning last_seq
    )
    insert into run_events (run_id, seq, type, data)
    select ${runId}::uuid, last_seq, 'execution.delayed', jsonb_build_object('reason', ${reason}::text,
      'until', to_char(until at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))
    from told cross join held`.execute(tx)
}

/**
 * The next free place of a throttle: now, or a period after the start that is as many places back as the limit says. So any
 * period holds at most as many. Null: now.
 */
async function takePlace(
  tx: Transaction<Database>,
  workspaceId: string,
  { line, limit, periodMs }: NonNullable<StartPolicy['throttle']>,
): Promise<string | null> {
  const { rows } = await sql<{ place: string; later: boolean }>`
    with known as (
      select starts from throttle_lines where line = ${line}
    ), place as (
      select greatest(date_trunc('milliseconds', app_now()), (
        select starts[cardinality(starts) - ${limit}::integer + 1] + ${periodMs}::double precision * interval '1 millisecond'
        from known where cardinality(starts) >= ${limit}::integer), (select starts[cardinality(starts)] from known)) as at
    ), kept as (
      insert into throttle_lines as t (line, workspace_id, starts, until)
      select ${line}::uuid, ${workspaceId}::uuid, array[at], at + ${periodMs}::double precision * interval '1 millisecond' from place
      on conflict (line) do update set until = excluded.until,
        starts = (t.starts || excluded.starts)[greatest(1, cardinality(t.starts) + 2 - ${limit}::integer):]
    )
    select at::text as place, at > app_now() as later from place`.execute(tx)
  const row = rows[0]!
  return row.later ? row.place : null
}
