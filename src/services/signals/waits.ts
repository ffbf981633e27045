import { sql, type Kysely } from 'kysely'
import type { Database } from '../../db/database.ts'
import { jsonb } from '../../db/json.ts'
import type { RunState } from '../../db/tables/runs.table.ts'
import type { Json, JsonObject } from '../../lib/json.ts'
import { checkExpression, evaluateExpression } from '../../lib/language/expression.ts'
import { LanguageError, type Scope } from '../../lib/language/scope.ts'
import { nudged } from '../runs/nudge.ts'

/**
 * Events and those who wait for them. An event is committed before it is offered to the waits that are open, and a wait
 * is committed before it looks among the events that are kept: whichever comes second finds the other.
 */

export interface WaitKey {
  run_id: string
  path: string
  generation: number
}

/** A CEL expression with the part of the scope that it reads, so that whoever sends an event can evaluate it. */
export type Condition = { expr: string; scope: JsonObject }

const largestScope = 64 * 1024
const pageSize = 200
/** Payloads that a page of kept events holds, one that goes over it included, and pages of one look. */
const pageBytes = 4 * 1024 * 1024
const mostPages = 4

/** The condition as it is stored. Throws LanguageError where what it reads is too large to keep. */
export function conditionOf(expr: string, scope: Scope): Condition {
  const kept: JsonObject = {}
  for (const { root, path } of checkExpression(expr).references) {
    const value = scope[root]
    if (root === 'event' || value === undefined) continue
    const [step] = path
    if (root !== 'steps' || step === undefined) kept[root] = value
    else kept['steps'] = { ...(kept['steps'] as JsonObject), [step]: (value as JsonObject)[step] ?? null }
  }
  if (JSON.stringify(kept).length > largestScope)
    throw new LanguageError(`match: what the expression reads is larger than ${largestScope / 1024} KB`)
  return { expr, scope: kept }
}

/** False also where the payload is none that the expression can read. */
function holds({ expr, scope }: Condition, payload: Json): boolean {
  try {
    return evaluateExpression(expr, { ...scope, event: payload }) === true
  } catch (error) {
    if (error instanceof LanguageError) return false
    throw error
  }
}

/** Registers a wait under its owner's fence; the same however often it is called. */
export async function registerWait(
  db: Kysely<Database>,
  wait: {
    key: WaitKey
    fence: number
    name: string
    match: JsonObject | null
    condition: Condition | null
    timeoutMs: number | null
  },
): Promise<void> {
  const { key, match, condition } = wait
  await sql`
    with held as materialized (
      select id, workspace_id from runs
      where id = ${key.run_id} and fence = ${wait.fence} and state = 'running' for no key update
    )
    insert into event_waits (run_id, path, generation, workspace_id, name, match, condition, expires_at)
    select id, ${key.path}, ${key.generation}::integer, workspace_id, ${wait.name},
      ${match && jsonb(match)}, ${condition && jsonb(condition)},
      app_now() + ${wait.timeoutMs}::double precision * interval '1 millisecond'
    from held
    on conflict do nothing`.execute(db)
}

export interface SeenWait {
  state: 'open' | 'delivered' | 'expired'
  payload: Json
  expires_at: Date | null
}

/** How a wait stands; one whose time is over is closed by the look. Undefined: it was never registered. */
export async function lookAtWait(
  db: Kysely<Database>,
  { run_id, path, generation }: WaitKey,
): Promise<SeenWait | undefined> {
  const { rows } = await sql<SeenWait>`
    with over as (
      update event_waits set state = 'expired', closed_at = app_now()
      where run_id = ${run_id} and path = ${path} and generation = ${generation} and state = 'open'
        and expires_at <= app_now()
      returning state, payload, expires_at
    )
    select state, payload, expires_at from over
    union all
    select state, payload, expires_at from event_waits
    where run_id = ${run_id} and path = ${path} and generation = ${generation} and not exists (select from over)`.execute(
    db,
  )
  return rows[0]
}

export type LookedBack = 'given' | 'none' | 'more'

/**
 * Gives a wait the oldest of the kept events that it waits for. A signal goes to one wait; an event of the workspace to
 * each run once. Where nothing is matched, only what came since the run was made counts. `more`: a look has its bound, and
 * the next one goes on where it ended. What comes meanwhile is offered to the wait, so nothing is missed in between.
 */
export async function takeKeptEvent(
  db: Kysely<Database>,
  key: WaitKey,
  { name, match, condition }: { name: string; match: JsonObject | null; condition: Condition | null },
): Promise<LookedBack> {
  const wait = sql`w.run_id = ${key.run_id} and w.path = ${key.path} and w.generation = ${key.generation}`
  for (let page = 0; page < mostPages; page++) {
    // What is matched by the database alone needs no payload here.
    const { rows } = await sql<{ id: string; run_id: string | null; payload: Json }>`
      with page as (
        select e.id, e.run_id, e.payload, sum(e.bytes) over (order by e.id) - e.bytes as before from (
          select e.id, e.run_id, e.bytes, ${condition ? sql`e.payload` : sql`null::jsonb`} as payload
          from event_waits w join runs r on r.id = w.run_id join inbound_events e on e.workspace_id = r.workspace_id
          where ${wait} and e.name = ${name} and e.expires_at > app_now() and (w.looked_to is null or e.id > w.looked_to)
            and (e.run_id = r.id and e.taken_at is null
              or e.run_id is null and (${match !== null || condition !== null}::boolean or e.created_at >= r.created_at)
                and not exists (select from event_waits had where had.event_id = e.id and had.run_id = r.id))
            and (${match === null}::boolean or e.payload @> ${jsonb(match)})
          order by e.id limit ${pageSize}
        ) e
      )
      select id, run_id, payload from page where before < ${pageBytes}::bigint order by id`.execute(db)
    if (rows.length === 0) return 'none'
    for (const event of rows) {
      if (condition && !holds(condition, event.payload)) continue
      if (await give(db, event, key, { nudge: false })) return 'given'
    }
    await sql`update event_waits w set looked_to = ${rows.at(-1)!.id} where ${wait}`.execute(db)
  }
  return 'more'
}

interface KeptEvent {
  id: string
  run_id: string | null
}

/** Gives an event to a wait that is still open. Null: it is not, or somebody else has taken the signal. */
async function give(
  db: Kysely<Database>,
  event: KeptEvent,
  key: WaitKey,
  { nudge }: { nudge: boolean },
): Promise<{ state: RunState | null } | null> {
  const taken =
    event.run_id === null
      ? sql`select e.id, e.payload from inbound_events e, wait where e.id = ${event.id} and e.expires_at > app_now()`
      : sql`update inbound_events e set taken_at = app_now() from wait
          where e.id = ${event.id} and e.taken_at is null and e.expires_at > app_now() returning e.id, e.payload`
  const { rows } = await sql<{ state: RunState | null }>`
    with wait as materialized (
      select run_id, path, generation from event_waits
      where run_id = ${key.run_id} and path = ${key.path} and generation = ${key.generation} and state = 'open'
        and (expires_at is null or expires_at > app_now()) for update
    ), taken as (${taken}), given as (
      update event_waits w set state = 'delivered', event_id = taken.id, payload = taken.payload, closed_at = app_now()
      from taken, wait
      where w.run_id = wait.run_id and w.path = wait.path and w.generation = wait.generation
      returning w.run_id
    )
    select ${nudge ? nudged(sql.ref('run_id')) : sql`null::text`} as state from given`.execute(db)
  return rows[0] ?? null
}

interface OpenWait extends WaitKey {
  condition: Condition | null
}

export interface Offered {
  /** Runs that got it, with the state that they were in. */
  given: { runId: string; state: RunState | null }[]
  /** The bound was reached before the end of the list. */
  more: boolean
}

export interface OfferedEvent extends KeptEvent {
  workspace_id: string
  name: string
  payload: Json
  cursor_run_id: string | null
  cursor_path: string | null
}

/**
 * Offers an event to the waits that are open: a signal until one has taken it, an event of the workspace to all. It goes on
 * behind those that it was offered to before: what did not fit them then never will.
 */
export async function offerEvent(db: Kysely<Database>, event: OfferedEvent, most: number): Promise<Offered> {
  const given: Offered['given'] = []
  let { cursor_run_id: runId, cursor_path: path } = event
  for (let looked = 0; looked < most; looked += pageSize) {
    const waits = await openWaits(db, event, runId === null ? null : { run_id: runId, path: path ?? '' })
    for (const wait of waits) {
      if (wait.condition && !holds(wait.condition, event.payload)) continue
      const done = await give(db, event, wait, { nudge: true })
      if (!done) continue
      given.push({ runId: wait.run_id, state: done.state })
      if (event.run_id !== null) return { given, more: false }
    }
    if (waits.length < pageSize) return { given, more: false }
    ;({ run_id: runId, path } = waits.at(-1)!)
  }
  await sql`update inbound_events set cursor_run_id = ${runId}, cursor_path = ${path} where id = ${event.id}`.execute(
    db,
  )
  return { given, more: true }
}

/** Waits of steps that are over, or of runs that have ended, have nobody to give an event to. */
async function openWaits(
  db: Kysely<Database>,
  event: OfferedEvent,
  after: { run_id: string; path: string } | null,
): Promise<OpenWait[]> {
  const { rows } = await sql<OpenWait>`
    select w.run_id, w.path, w.generation, w.condition from event_waits w
    join runs r on r.id = w.run_id and r.generation = w.generation
    left join run_steps s on s.run_id = w.run_id and s.path = w.path
    where w.workspace_id = ${event.workspace_id} and w.name = ${event.name} and w.state = 'open'
      and (${event.run_id}::uuid is null or w.run_id = ${event.run_id}::uuid)
      and r.state not in ('succeeded', 'failed', 'canceled', 'timed_out')
      and (s.status is null or s.status in ('pending', 'running', 'waiting'))
      and (w.match is null or ${jsonb(event.payload)} @> w.match)
      and (${after === null}::boolean or (w.run_id, w.path) > (${after?.run_id ?? null}::uuid, ${after?.path ?? ''}))
    order by w.run_id, w.path limit ${pageSize}`.execute(db)
  return rows
}
