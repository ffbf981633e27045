import { sql, type Kysely } from 'kysely'
import type { Database } from '../../db/database.ts'
import { toJsonText } from '../../db/json.ts'
import type { RunState } from '../../db/tables/runs.table.ts'
import type { Json, JsonObject } from '../../lib/json.ts'
import type { StepRecord } from './records.ts'
import type { ModelUsage } from '../models/types.ts'
import type { CallKind } from './step-executor.ts'

/** How long a lease lasts; every checkpoint renews it. */
export const leaseSeconds = 30

export interface StepWrite extends Omit<StepRecord, 'wake_at'> {
  /** Wakes this long after the database has the row; delays travel as intervals because process clocks decide nothing. */
  delay_ms: number | null
  /** Wakes at a given instant (ISO). Wins over delay_ms. */
  wake_at: string | null
  /** How long before this write the step began and ended; null = not (yet), or as the row already says. */
  started_ms_ago: number | null
  finished_ms_ago: number | null
}

export interface CallWrite {
  key: string
  kind: CallKind
  request_hash: string | null
  /** Undefined: started, result not known yet (`once`). */
  result?: Json
}

export interface EventWrite {
  type: string
  data: JsonObject
  /** How long before this write it happened. */
  ms_ago: number
}

/** A row of `model_usage`; run and workspace are those of the checkpoint. */
export interface UsageWrite extends ModelUsage {
  id: string
  key_id: string | null
  agent_id: string | null
  step_path: string
}

/** How a run's lease ends with a checkpoint. */
export type Leaving =
  | {
      state: Extract<RunState, 'succeeded' | 'failed' | 'canceled' | 'timed_out'>
      output: Json
      error: JsonObject | null
    }
  /** Parked until the earliest of its steps' wake times, or the run's deadline. */
  | { state: 'waiting' }
  /** Handed back to whoever comes next. */
  | { state: 'queued' }

/** All that one owner writes to one run in one go. */
export interface Checkpoint {
  id: string
  runId: string
  fence: number
  rev: number
  steps: StepWrite[]
  calls: CallWrite[]
  events: EventWrite[]
  usage: UsageWrite[]
  /** New totals of the run; null leaves them. */
  totals: JsonObject | null
  leaving: Leaving | null
  /** Steps that wake the run, by path; with `leaving.state = 'waiting'`. */
  waits: { path: string; delay_ms: number | null; wake_at: string | null }[]
  /** Inbox commands this owner has applied. */
  applied: string[]
  /** A step has ended: the count of fruitless recoveries starts anew. */
  progress: boolean
}

export interface CheckpointResult {
  state: RunState
  pendingCommands: number
}

/**
 * Writes the checkpoints of many runs in one statement, which is one transaction and one round trip. Each moves its
 * run from `rev` to `rev + 1` under its fence, or writes nothing at all. Rows are locked in the order of their ids.
 * A run that asks to leave while commands wait for it stays with its owner (state `running` in the result).
 *
 * Runs missing from the result were taken over. A checkpoint whose id is already stored counts as written: its commit
 * had happened, only the acknowledgement was lost. Not so under a newer fence: then the run is another's by now.
 */
export async function writeCheckpoints(
  db: Kysely<Database>,
  checkpoints: readonly Checkpoint[],
): Promise<Map<string, CheckpointResult>> {
  const rows = toJsonText(
    checkpoints.map((c) => ({
      run_id: c.runId,
      id: c.id,
      fence: c.fence,
      rev: c.rev,
      events: c.events.length,
      steps: c.steps,
      calls: c.calls.map((call) => ({ ...call, known: call.result !== undefined, result: call.result ?? null })),
      log: c.events,
      usage: c.usage,
      totals: c.totals,
      state: c.leaving?.state ?? null,
      output: c.leaving && 'output' in c.leaving ? c.leaving.output : null,
      error: c.leaving && 'error' in c.leaving ? c.leaving.error : null,
      waits: c.waits,
      applied: c.applied,
      progress: c.progress,
    })),
  )
  const { rows: results } = await sql<{ id: string; state: RunState; pending_commands: number }>`
    with batch as materialized (
      select * from jsonb_to_recordset(${rows}::text::jsonb) as b(
        run_id uuid, id uuid, fence integer, rev integer, events integer, steps jsonb, calls jsonb, log jsonb,
        usage jsonb, totals jsonb, state text, output jsonb, error jsonb, waits jsonb, applied jsonb, progress boolean)
    ), locked as materialized (
      select r.id from runs r join batch b on b.run_id = r.id order by r.id for update of r
    ), moved as (
      update runs r set
        rev = r.rev + 1,
        checkpoint_id = b.id,
        last_seq = r.last_seq + b.events,
        usage = coalesce(b.totals, r.usage),
        recoveries = case when b.progress then 0 else r.recoveries end,
        pending_commands = case when b.state in ('succeeded', 'failed', 'canceled', 'timed_out') then 0
          else r.pending_commands - jsonb_array_length(b.applied) end,
        state = case
          when b.state is null then r.state
          when b.state in ('waiting', 'queued') and r.pending_commands > jsonb_array_length(b.applied) then r.state
          else b.state end,
        output = case when b.state is null then r.output else b.output end,
        error = case when b.state is null then r.error else b.error end,
        finished_at = case when b.state in ('succeeded', 'failed', 'canceled', 'timed_out') then app_now() end,
        lease_owner = case
          when b.state is null then r.lease_owner
          when b.state in ('waiting', 'queued') and r.pending_commands > jsonb_array_length(b.applied) then r.lease_owner
          end,
        lease_until = case
          when b.state is null then app_now() + ${leaseSeconds} * interval '1 second'
          when b.state in ('waiting', 'queued') and r.pending_commands > jsonb_array_length(b.applied)
            then app_now() + ${leaseSeconds} * interval '1 second'
          end
      from batch b, locked l
      where r.id = b.run_id and l.id = b.run_id and r.fence = b.fence and r.rev = b.rev and r.state = 'running'
      returning r.id, r.workspace_id, r.priority, r.last_seq - b.events as base, r.state, r.pending_commands,
        r.deadline_at
    ), steps as (
      insert into run_steps (run_id, path, parent, ordinal, step_id, kind, status, attempts, output, error, state,
        wake_at, started_at, finished_at)
      select m.id, s.path, s.parent, s.ordinal, s.step_id, s.kind, s.status, s.attempts, s.output, s.error, s.state,
        coalesce(s.wake_at, app_now() + s.delay_ms * interval '1 millisecond'),
        app_now() - s.started_ms_ago * interval '1 millisecond',
        app_now() - s.finished_ms_ago * interval '1 millisecond'
      from moved m join batch b on b.run_id = m.id
      cross join lateral jsonb_to_recordset(b.steps) as s(
        path text, parent text, ordinal integer, step_id text, kind text, status text, attempts integer, output jsonb,
        error jsonb, state jsonb, delay_ms double precision, wake_at timestamptz, started_ms_ago double precision,
        finished_ms_ago double precision)
      on conflict (run_id, path) do update set
        status = excluded.status, attempts = excluded.attempts, output = excluded.output, error = excluded.error,
        state = excluded.state, wake_at = excluded.wake_at,
        started_at = coalesce(run_steps.started_at, excluded.started_at), finished_at = excluded.finished_at
    ), calls as (
      insert into run_calls (run_id, key, kind, request_hash, result)
      select m.id, c.key, c.kind, c.request_hash, case when c.known then coalesce(c.result, 'null') end
      from moved m join batch b on b.run_id = m.id
      cross join lateral jsonb_to_recordset(b.calls) as c(
        key text, kind text, request_hash text, known boolean, result jsonb)
      on conflict (run_id, key) do update set result = excluded.result where run_calls.result is null
    ), events as (
      insert into run_events (run_id, seq, type, data, created_at)
      select m.id, m.base + e.n, e.event->>'type', e.event->'data',
        app_now() - (e.event->>'ms_ago')::double precision * interval '1 millisecond'
      from moved m join batch b on b.run_id = m.id
      cross join lateral jsonb_array_elements(b.log) with ordinality as e(event, n)
    ), usage as (
      insert into model_usage (id, workspace_id, provider, model, status, error, input_tokens, cached_input_tokens,
        output_tokens, reasoning_tokens, cost_usd, price, latency_ms, simulated, key_id, agent_id, run_id, step_path)
      select u.id, m.workspace_id, u.provider, u.model, u.status, u.error, u.input_tokens, u.cached_input_tokens,
        u.output_tokens, u.reasoning_tokens, u.cost_usd, u.price, u.latency_ms, u.simulated, u.key_id, u.agent_id,
        m.id, u.step_path
      from moved m join batch b on b.run_id = m.id
      cross join lateral jsonb_to_recordset(b.usage) as u(
        id uuid, provider text, model text, status text, error text, input_tokens integer,
        cached_input_tokens integer, output_tokens integer, reasoning_tokens integer, cost_usd numeric, price jsonb,
        latency_ms integer, simulated boolean, key_id uuid, agent_id uuid, step_path text)
    ), parked as (
      insert into waits (run_id, path, workspace_id, wake_at)
      select m.id, w.path, m.workspace_id,
        least(coalesce(w.wake_at, app_now() + w.delay_ms * interval '1 millisecond'), m.deadline_at)
      from moved m join batch b on b.run_id = m.id
      cross join lateral jsonb_to_recordset(b.waits) as w(path text, delay_ms double precision, wake_at timestamptz)
      where m.state = 'waiting'
    ), requeued as (
      insert into run_queue (run_id, workspace_id, priority)
      select id, workspace_id, priority from moved where state = 'queued'
    ), applied as (
      update run_inbox i set applied_at = app_now()
      from moved m join batch b on b.run_id = m.id
      where i.run_id = m.id and i.applied_at is null
        and (b.applied ? i.id::text or m.state in ('succeeded', 'failed', 'canceled', 'timed_out'))
    )
    select id, state, pending_commands from moved
    union all
    select r.id, r.state, r.pending_commands from runs r
      join batch b on b.run_id = r.id and r.checkpoint_id = b.id and r.fence = b.fence`.execute(db)
  return new Map(results.map((row) => [row.id, { state: row.state, pendingCommands: row.pending_commands }]))
}
