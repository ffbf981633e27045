import { CompiledQuery, sql, type Kysely } from 'kysely'
import type { Database } from '../../db/database.ts'
import type { JsonObject, Json } from '../../lib/json.ts'
import { leaseSeconds } from './checkpoint-statement.ts'

/** Runs written by a newer engine are left to workers that know it. The second knows lists with `needs`. */
export const engineVersion = 2
/** Recoveries of the same step without progress before it fails as `crash_loop`. */
export const maxRecoveries = 5

const nil = '00000000-0000-0000-0000-000000000000'

export interface ClaimedRun {
  id: string
  workspace_id: string
  recipe_id: string | null
  recipe_version: number | null
  definition: JsonObject
  trigger: JsonObject
  schedule_id: string | null
  slot_at: Date | null
  state_key: string | null
  input: Json
  rev: number
  fence: number
  generation: number
  recoveries: number
  pending_commands: number
  usage: JsonObject
  created_by: string | null
  started_at: Date
  deadline_at: Date | null
  trace_context: JsonObject | null
  /** The database's clock when it was claimed. */
  now: Date
  /** True when no worker has held it before. */
  first: boolean
  /** It holds slots, which are free for others once it has left. */
  slotted: boolean
}

/** Workspaces that one claim looks at. */
const maxTurns = 64

export interface Claim {
  runs: ClaimedRun[]
  /** The workspace whose turn was last; the next claim starts behind it. */
  after: string | null
  /** More may be ready than the even shares let this claim take. */
  more: boolean
  /** Runs that got no slot: they are out of the queue now. */
  blocked: string[]
}

/**
 * Takes up to `limit` ready runs under a lease. Workspaces take turns: it starts behind `after`, goes round once, and takes
 * at most an even share of each, so one workspace's long queue does not hold up another's first run. Rows that another
 * worker is just claiming, or a command is changing, are skipped, so a claim waits for no run. Of runs under a limit it takes
 * those that get their slots; only such claims wait for each other.
 */
export async function claimRuns(
  db: Kysely<Database>,
  owner: string,
  limit: number,
  after: string | null,
): Promise<Claim> {
  const statement = CompiledQuery.raw(claimStatement, [owner, limit, after ?? nil])
  const { rows } = await db.executeQuery<ClaimRow>(statement)
  if (rows.length === 0) return { runs: [], after, more: false, blocked: [] }
  const { turns, passed } = rows[0]!
  // What got no slot leads a row without a run where nothing was claimed beside it.
  const runs = rows.filter((row): row is ClaimedRun & ClaimRow => row.id !== null)
  const share = Math.ceil(limit / turns)
  const taken = new Map<string, number>()
  for (const row of [...runs, ...(passed ?? [])]) taken.set(row.workspace_id, (taken.get(row.workspace_id) ?? 0) + 1)
  const isCut = turns === maxTurns || [...taken.values()].some((count) => count >= share)
  const blocked = (passed ?? []).map(({ id }) => id)
  return { runs, after: lastTurn([...taken.keys()], after), more: runs.length < limit && isCut, blocked }
}

type ClaimRow = (ClaimedRun | { id: null }) & {
  turns: number
  passed: { id: string; workspace_id: string }[] | null
}

/** Turns go upwards from behind `after` and begin again below. */
function lastTurn(workspaces: string[], after: string | null): string {
  const sorted = workspaces.toSorted()
  return (after === null ? undefined : sorted.findLast((id) => id <= after)) ?? sorted.at(-1)!
}

/** The next workspace in the queue's order, and whether it may have a turn: one that is paused is passed over. */
const nextTurn = (where: string) => `
      select q.workspace_id, not exists (select from workspace_pauses p where p.workspace_id = q.workspace_id) as open
      from (select workspace_id from run_queue where ${where} order by workspace_id limit 1) q`

// $1 owner, $2 limit, $3 after. `any(array(…))` reaches rows by their keys whatever the planner thinks of the list's length, and
// the limit of what is claimed has it expect few: it keeps the plan that it made while `runs` was empty.
const claimStatement = `
  with recursive behind as (
    select workspace_id, open, open::integer as n from (${nextTurn('workspace_id > $3::text::uuid')}) first
    union all
    select next.workspace_id, next.open, t.n + next.open::integer from behind t
    cross join lateral (${nextTurn('workspace_id > t.workspace_id')}) next
    where t.n < ${maxTurns}
  ), below as (
    select workspace_id, open, open::integer as n from (${nextTurn('workspace_id <= $3::text::uuid')}) first
    union all
    select next.workspace_id, next.open, t.n + next.open::integer from below t
    cross join lateral (${nextTurn('workspace_id > t.workspace_id and workspace_id <= $3::text::uuid')}) next
    where t.n < ${maxTurns}
  ), turns as materialized (
    select ready.workspace_id, l.workspace_id is not null as limited
    from (select * from behind union all select * from below) ready
    left join workspace_limits l on l.workspace_id = ready.workspace_id
    where open limit ${maxTurns}
  ), share as (
    select greatest(1, ceil($2::text::integer::numeric / greatest(1, count(*))))::integer as size from turns
  ), picked as materialized (
    select head.run_id, t.workspace_id, t.limited from turns t
    cross join lateral (
      select q.run_id from run_queue q where q.workspace_id = t.workspace_id
      order by q.priority desc, q.ready_at, q.run_id
      limit (select size from share)
      for update skip locked
    ) head
    limit $2::text::integer
  ), ready as materialized (
    select held.id as run_id, p.workspace_id, held.slotted or p.limited as asks from picked p
    cross join lateral (
      select r.id, r.slotted from runs r
      where r.id = p.run_id and r.engine_version <= ${engineVersion} and r.state in ('queued', 'waiting')
      for update skip locked
    ) held
  ), admitted as materialized (
    select run_id, false as asks from ready where not asks
    union all
    select slot.run_id, true from (select array_agg(run_id) as ids from ready where asks) a
    cross join lateral take_slots(a.ids) as slot(run_id)
    where a.ids is not null
  ), left_queue as (
    delete from run_queue where run_id = any(array(select run_id from admitted))
  ), left_waits as (
    delete from waits where run_id = any(array(select run_id from admitted))
  ), claimed as (
    update runs r set
      state = 'running', fence = r.fence + 1, lease_owner = $1,
      lease_until = app_now() + interval '${leaseSeconds} seconds',
      started_at = coalesce(r.started_at, app_now()),
      deadline_at = coalesce(r.deadline_at, app_now() + r.timeout_ms * interval '1 millisecond'),
      slotted = r.slotted or r.id = any(array(select run_id from admitted where asks))
    from (select run_id from ready where run_id = any(array(select run_id from admitted)) limit $2::text::integer) a
    where r.id = a.run_id
    returning r.*
  )
  select c.id, c.workspace_id, c.recipe_id, c.recipe_version, coalesce(c.definition, v.definition) as definition,
    c.trigger, c.schedule_id, c.slot_at, c.state_key, c.input, c.rev, c.fence, c.generation, c.recoveries,
    c.pending_commands, c.usage, c.created_by, c.started_at, c.deadline_at, c.trace_context, app_now()::timestamptz(3) as now,
    c.fence = 1 as first, c.slotted, (select count(*)::integer from turns) as turns, b.passed
  from (
    select jsonb_agg(jsonb_build_object('id', run_id, 'workspace_id', workspace_id)) as passed
    from ready where asks and run_id <> all(array(select run_id from admitted))
  ) b
  left join claimed c on true
  left join recipe_versions v on v.recipe_id = c.recipe_id and v.version = c.recipe_version
  where c.id is not null or b.passed is not null`

/** Confirms leases by run and fence. Returns the runs that are still held, with the number of commands waiting for each. */
export async function renewLeases(
  db: Kysely<Database>,
  held: readonly { runId: string; fence: number }[],
): Promise<Map<string, number>> {
  if (held.length === 0) return new Map()
  const pairs = JSON.stringify(held.map((h) => ({ id: h.runId, fence: h.fence })))
  const { rows } = await sql<{ id: string; pending_commands: number }>`
    with held as materialized (
      select r.id from runs r
      join jsonb_to_recordset(${pairs}::text::jsonb) as h(id uuid, fence integer) on h.id = r.id and h.fence = r.fence
      where r.state = 'running' order by r.id for update of r
    )
    update runs r set lease_until = app_now() + ${leaseSeconds} * interval '1 second'
    from held where r.id = held.id returning r.id, r.pending_commands`.execute(db)
  return new Map(rows.map((row) => [row.id, row.pending_commands]))
}

/** Moves parked runs whose time has come to the queue. Returns how many. */
export async function wakeDueRuns(db: Kysely<Database>, limit: number): Promise<number> {
  const { rows } = await sql<{ run_id: string }>`
    with due as materialized (
      select w.run_id, w.path from waits w join runs r on r.id = w.run_id
      where w.wake_at <= app_now() and r.state = 'waiting'
      order by w.wake_at limit ${limit} for update skip locked
    ), gone as (
      delete from waits w using due where w.run_id = due.run_id and w.path = due.path
    )
    insert into run_queue (run_id, workspace_id, priority)
    select r.id, r.workspace_id, r.priority from runs r where r.id in (select run_id from due)
    on conflict do nothing returning run_id`.execute(db)
  return rows.length
}

/**
 * Gives runs whose lease has run out back to the queue and raises their fence, so that the owner that lost it can
 * write nothing more. Returns how many.
 */
export async function recoverRuns(db: Kysely<Database>, limit: number): Promise<number> {
  const { rows } = await sql<{ run_id: string }>`
    with lost as materialized (
      select id from runs where state = 'running' and lease_until < app_now()
      order by id limit ${limit} for update skip locked
    ), freed as (
      update runs r set state = 'queued', fence = r.fence + 1, lease_owner = null, lease_until = null,
        recoveries = r.recoveries + 1, last_seq = r.last_seq + 1
      from lost where r.id = lost.id returning r.id, r.workspace_id, r.priority, r.last_seq, r.recoveries
    ), logged as (
      insert into run_events (run_id, seq, type, data)
      select id, last_seq, 'execution.recovered', jsonb_build_object('recoveries', recoveries) from freed
    )
    insert into run_queue (run_id, workspace_id, priority) select id, workspace_id, priority from freed
    on conflict do nothing returning run_id`.execute(db)
  return rows.length
}

/**
 * Milliseconds until the next run that is parked or held back is due; null when none has a time. Never negative. What was
 * held back until now and is held by somebody's lock besides is left to the next period.
 */
export async function nextWakeInMs(db: Kysely<Database>): Promise<number | null> {
  const { rows } = await sql<{ ms: number | null }>`
    select (extract(epoch from least(
      (select min(wake_at) from waits where wake_at is not null),
      (select min(until) from held_runs where until > app_now())) - app_now()) * 1000)::double precision as ms`.execute(
    db,
  )
  return untilMs(rows[0]?.ms)
}

/** From now; a time that is past is now. */
export const untilMs = (ms: number | null | undefined): number | null =>
  ms === null || ms === undefined ? null : Math.max(0, Math.ceil(ms))
