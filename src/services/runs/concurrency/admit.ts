import { sql, type Kysely, type Transaction } from 'kysely'
import type { Database } from '../../../db/database.ts'
import { toJsonText } from '../../../db/json.ts'
import { AppError } from '../../../lib/errors.ts'
import { cancelRunTrees, type Cancellation } from '../children.ts'
import { membersOf, noteCrowded, resolveConflicts } from './conflicts.ts'
import { endUnstarted, failUnstarted } from './fail-unstarted.ts'
import type { StartPolicy } from './policy.ts'
import { noPlace, takePlaces } from './throttle.ts'

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

/** Tells these locks from those under which slots are given: a claim waits for no trigger. */
const lineLocks = 19

/**
 * Those who decide by what others of the same limit do take turns until the commit. All that a transaction needs at once and
 * before any run, in one order, so that no two wait for each other. Lines share a thousand locks: however many there are,
 * they fit the server's memory.
 */
export async function lockLines(tx: Kysely<Database>, lines: readonly string[]): Promise<void> {
  if (lines.length === 0) return
  await sql`
    select pg_advisory_xact_lock(${lineLocks}::integer, bucket) from (
      select distinct (hashtextextended(line, 1) & 1023)::integer as bucket
      from jsonb_array_elements_text(${toJsonText([...new Set(lines)])}::text::jsonb) as line
      order by bucket) buckets`.execute(tx)
}

/** What a policy decides under a lock. */
export const linesOf = ({ slots, throttle }: StartPolicy): string[] => [
  ...slots.flatMap(({ counter, onConflict }) => (onConflict === 'queue' ? [] : [counter])),
  ...(throttle ? [throttle.line] : []),
]

/** Runs that end beside those that are admitted, and why. */
export type Ending = ReadonlyMap<string, string>

/**
 * Puts runs that this transaction has just inserted under the limits of their recipes, with a fixed number of statements
 * however many they are. The caller holds the locks of `linesOf`. Throws `rate-limited` where somebody waits for the answer
 * and there is no place for the start. Call `tellOf` after the commit.
 */
export async function admitRuns(
  tx: Transaction<Database>,
  runs: readonly PolicedRun[],
  ending: Ending = new Map(),
): Promise<Admission> {
  const holds: Hold[] = []
  const admission = await admitToLimits(tx, runs, ending, async (going) => {
    const { later, refused } = await takePlaces(tx, going)
    await refuse(tx, going, refused)
    for (const { id, policy } of going) {
      const { debounce, throttle } = policy
      const until = later.get(id)
      if (debounce) {
        const ms = Math.min(debounce.periodMs, debounce.maxWaitMs ?? Infinity)
        holds.push({ run_id: id, reason: 'debounce', line: debounce.line, ms, until: null })
      } else if (throttle && until) holds.push({ run_id: id, reason: 'throttle', line: throttle.line, ms: 0, until })
    }
    await holdRuns(tx, holds)
  })
  return admission
}

/**
 * Asks for the slots of runs and settles what follows for others. `between` is for what becomes of the runs that are not
 * skipped; behind it the rows of older runs are locked, once, in the order of their ids.
 */
export async function admitToLimits(
  tx: Transaction<Database>,
  runs: readonly PolicedRun[],
  ending: Ending = new Map(),
  between: (going: readonly PolicedRun[]) => Promise<void> = async () => {},
): Promise<Admission> {
  const members = await membersOf(tx, runs)
  const wanted = await wantSlots(tx, runs)
  const { skipped, canceled, crowded } = resolveConflicts(runs, wanted, members)
  await endUnstarted(
    tx,
    [...skipped].map(([id, reason]) => {
      return { id, state: 'canceled', error: { kind: 'skipped', detail: reason }, data: { reason } }
    }),
  )
  await between(runs.filter(({ id }) => !skipped.has(id)))
  await noteCrowded(tx, crowded)
  const reasons = new Map([...ending, ...canceled])
  const done = await cancelRunTrees(tx, [...reasons.keys()], (id) => reasons.get(id)!)
  return { ended: [...skipped.keys(), ...done.ended], commanded: done.commanded, skipped: new Set(skipped.keys()) }
}

/** A limit that a run above has a slot of is left out: parent and child would wait for each other. */
async function wantSlots(tx: Kysely<Database>, runs: readonly PolicedRun[]): Promise<Map<string, Set<string>>> {
  const rows = runs.flatMap(({ id, workspaceId, policy }) =>
    policy.slots.map(({ counter, scope, size, key }) => ({
      run_id: id,
      workspace_id: workspaceId,
      counter,
      scope,
      size,
      key,
    })),
  )
  const wanted = new Map<string, Set<string>>()
  if (rows.length === 0) return wanted
  const asked = await sql<{ run_id: string; counter: string }>`
    with recursive asked as materialized (
      select * from jsonb_to_recordset(${toJsonText(rows)}::text::jsonb) as s(
        run_id uuid, workspace_id uuid, counter uuid, scope text, size integer, key text)
    ), above as (
      select r.id as run_id, r.parent_run_id as id from runs r
      where r.id in (select run_id from asked) and r.parent_run_id is not null
      union all
      select a.run_id, r.parent_run_id from above a join runs r on r.id = a.id where r.parent_run_id is not null
    ), wanted as (
      insert into run_slots (run_id, counter, workspace_id, scope, size, key)
      select s.run_id, s.counter, s.workspace_id, s.scope, s.size, s.key from asked s
      where not exists (select from above a join run_slots o on o.run_id = a.id
        where a.run_id = s.run_id and o.counter = s.counter and o.state <> 'over')
      returning run_id, counter
    ), marked as (
      update runs set slotted = true where id in (select run_id from wanted)
    )
    select run_id, counter from wanted`.execute(tx)
  for (const { run_id, counter } of asked.rows) wanted.set(run_id, (wanted.get(run_id) ?? new Set()).add(counter))
  return wanted
}

/** Runs without a place: told as an answer where there is somebody to be told, failed where there is nobody. */
async function refuse(tx: Kysely<Database>, runs: readonly PolicedRun[], refused: ReadonlyMap<string, number>) {
  const answered = runs.find(({ id, policy }) => policy.answered && refused.has(id))
  if (answered)
    throw new AppError('rate-limited', noPlace, { headers: { 'retry-after': String(refused.get(answered.id)) } })
  await failUnstarted(tx, 'throttled', new Map([...refused.keys()].map((id) => [id, noPlace])))
}

interface Hold {
  run_id: string
  reason: 'debounce' | 'throttle'
  line: string
  /** From now, where there is no `until`. */
  ms: number
  until: Date | null
}

/** From the queue to beside it, until a time. The log says so, for whoever wonders why nothing happens. */
async function holdRuns(tx: Kysely<Database>, holds: readonly Hold[]): Promise<void> {
  if (holds.length === 0) return
  await sql`
    with given as materialized (
      select * from jsonb_to_recordset(${toJsonText(holds)}::text::jsonb) as g(
        run_id uuid, reason text, line uuid, ms double precision, until timestamptz)
    ), taken as (
      delete from run_queue q using given g where q.run_id = g.run_id returning q.run_id, q.workspace_id, q.priority
    ), held as (
      insert into held_runs (run_id, workspace_id, reason, line, priority, until)
      select t.run_id, t.workspace_id, g.reason, g.line, t.priority, coalesce(g.until, app_now() + g.ms * interval '1 millisecond')
      from taken t join given g on g.run_id = t.run_id returning run_id, reason, until
    ), told as (
      update runs r set last_seq = r.last_seq + 1 from given g where r.id = g.run_id returning r.id, r.last_seq
    )
    insert into run_events (run_id, seq, type, data)
    select id, last_seq, 'execution.delayed', jsonb_build_object('reason', reason,
      'until', to_char(until at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))
    from told join held on held.run_id = told.id`.execute(tx)
}
