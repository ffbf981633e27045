import { sql, type Kysely, type Transaction } from 'kysely'
import type { Database } from '../../db/database.ts'
import { toJsonText } from '../../db/json.ts'
import { onceMore } from '../../db/once-more.ts'
import type { Json, JsonObject } from '../../lib/json.ts'
import { admitRuns, linesOf, lockLines, noAdmission, type Admission, type Ending } from './concurrency/admit.ts'
import { failUnstarted } from './concurrency/fail-unstarted.ts'
import type { StartPolicy } from './concurrency/policy.ts'

export interface NewRun {
  id: string
  workspaceId: string
  recipeId: string | null
  recipeVersion: number | null
  /** Of a run without a recipe; null where the pinned version has it. */
  definition?: JsonObject | null
  trigger: JsonObject
  scheduleId?: string | null
  slotAt?: Date | null
  stateKey?: string | null
  input: Json
  priority?: number
  createdBy?: string | null
  /** Counted from the first claim. */
  timeoutMs?: number | null
  idempotencyKey?: string | null
  requestHash?: string | null
  /** Of `traceRun`; null where nothing is traced. */
  traceContext?: JsonObject | null
  /** The run whose step starts this one. */
  parentRunId?: string | null
  /** What its recipe says about when it may start. */
  policy?: StartPolicy | null
  /** Why the policy could not be worked out: the run fails before it begins, so that it is not lost silently. */
  fault?: string | null
}

/**
 * Writes runs, their places in the queue and their first events: in one statement, or where their recipes limit their starts
 * in one transaction, the caller's where it has one. A second run for the same slot or idempotency key violates a unique
 * index and fails it. Those that are to end for them are canceled with all others that are. After the commit call
 * `wake.runReady` for each, and `tellOf` with what is answered.
 */
export async function insertRuns(db: Kysely<Database>, runs: NewRun[], ending: Ending = new Map()): Promise<Admission> {
  const policed = runs.flatMap(({ id, workspaceId, policy }) => (policy ? [{ id, workspaceId, policy }] : []))
  const faults = new Map(runs.flatMap(({ id, fault }) => (typeof fault === 'string' ? [[id, fault] as const] : [])))
  if (policed.length === 0 && faults.size === 0 && ending.size === 0) {
    await writeRuns(db, runs)
    return noAdmission()
  }
  return inTransaction(db, async (tx) => {
    await lockLines(
      tx,
      policed.flatMap(({ policy }) => linesOf(policy)),
    )
    await writeRuns(tx, runs)
    await failUnstarted(tx, 'start_key', faults)
    return admitRuns(tx, policed, ending)
  })
}

/** In the transaction that there is, or in one of its own: then the work is done again where it met another's. */
export const inTransaction = <T>(db: Kysely<Database>, work: (tx: Transaction<Database>) => Promise<T>): Promise<T> =>
  db.isTransaction ? work(db as Transaction<Database>) : onceMore(() => db.transaction().execute(work))

async function writeRuns(db: Kysely<Database>, runs: NewRun[]): Promise<void> {
  if (runs.length === 0) return
  const rows = toJsonText(
    runs.map((run) => ({
      id: run.id,
      workspace_id: run.workspaceId,
      recipe_id: run.recipeId,
      recipe_version: run.recipeVersion,
      definition: run.definition ?? null,
      trigger: run.trigger,
      schedule_id: run.scheduleId ?? null,
      slot_at: run.slotAt ?? null,
      state_key: run.stateKey ?? null,
      input: run.input,
      priority: run.priority ?? 0,
      created_by: run.createdBy ?? null,
      timeout_ms: run.timeoutMs ?? null,
      idempotency_key: run.idempotencyKey ?? null,
      request_hash: run.requestHash ?? null,
      trace_context: run.traceContext ?? null,
      parent_run_id: run.parentRunId ?? null,
    })),
  )
  await sql`
    with new_runs as (
      select * from jsonb_to_recordset(${rows}::text::jsonb) as r(
        id uuid, workspace_id uuid, recipe_id uuid, recipe_version integer, definition jsonb, trigger jsonb,
        schedule_id uuid, slot_at timestamptz, state_key text, input jsonb, priority integer, created_by text,
        timeout_ms double precision, idempotency_key text, request_hash text,
        trace_context jsonb, parent_run_id uuid)
    ), inserted as (
      insert into runs (id, workspace_id, recipe_id, recipe_version, definition, state, trigger, schedule_id, slot_at,
        state_key, input, priority, created_by, timeout_ms, idempotency_key, request_hash,
        trace_context, parent_run_id, last_seq, announced_generation)
      select id, workspace_id, recipe_id, recipe_version, definition, 'queued', trigger, schedule_id, slot_at,
        state_key, coalesce(input, 'null'), priority, created_by, timeout_ms, idempotency_key, request_hash,
        trace_context, parent_run_id, 1,
        (select 0 from webhook_subscriptions s where s.workspace_id = new_runs.workspace_id limit 1)
      from new_runs
      returning id, workspace_id, priority, trigger
    ), queued as (
      insert into run_queue (run_id, workspace_id, priority)
      select id, workspace_id, priority from inserted
    )
    insert into run_events (run_id, seq, type, data)
    select id, 1, 'execution.queued', jsonb_build_object('trigger', trigger) from inserted`.execute(db)
}
