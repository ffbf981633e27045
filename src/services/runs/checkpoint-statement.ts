/** How long a lease lasts; every checkpoint renews it. */
export const leaseSeconds = 30

/** What a batch of checkpoints has to write besides the runs themselves. */
export interface CheckpointParts {
  steps: boolean
  calls: boolean
  events: boolean
  usage: boolean
  /** A run ends its lease. */
  leaving: boolean
  /** A run leaves to wait. */
  parked: boolean
  /** A run is handed back. */
  requeued: boolean
  applied: boolean
}

const statements = new Map<number, string>()

/**
 * The statement for batches with these parts. $1 is the list of checkpoints as JSON text, sorted by run so that no two
 * statements lock the same rows in different orders; $2 is its length; behind them comes a list of rows for each of
 * `rowParts` that is wanted. What a batch does not need is left out, because starting the executor of a part costs about as
 * much as writing a row with it. There are few combinations in use, and drivers prepare each once a connection.
 */
export function checkpointStatement(parts: CheckpointParts): string {
  const key = Object.values(parts).reduce((bits, wanted) => bits * 2 + (wanted ? 1 : 0), 0)
  let statement = statements.get(key)
  if (statement === undefined) statements.set(key, (statement = build(parts)))
  return statement
}

/** Parts that write rows of their own. Rows name their run by its place in the batch. */
export const rowParts = ['steps', 'calls', 'events', 'usage', 'parked'] as const

/** Everything hangs on `moved`: a run that is not its owner's any more is in no part. */
function build(parts: CheckpointParts): string {
  const writers = { steps, calls, events, usage, parked }
  let parameter = 2
  const extra = [
    ...rowParts.filter((part) => parts[part]).map((part) => writers[part](`$${++parameter}::text::json`)),
    parts.requeued && requeued,
    (parts.applied || parts.leaving) && applied,
  ].filter((part) => part !== false)
  const moved = parts.leaving || parts.applied ? movedOrLeaving : movedOn
  return `with ${[batch, moved, ...extra].join(', ')} select id, state, pending_commands from moved`
}

/**
 * The checkpoints whose run still stands where its owner left it, with the run's row locked, in the order of the list. The
 * lateral look-up and the limits keep the planner from reading all of `runs` for a handful of them: of as many rows as a
 * parameter says it expects a tenth, and plans that it makes while `runs` is empty are kept when it is not.
 */
const batch = `batch as materialized (
  select b.* from (
    select * from json_to_recordset($1::text::json) as b(
      n integer, run_id uuid, id uuid, fence integer, rev integer, events integer, totals jsonb, state text, output jsonb,
      error jsonb, applied jsonb, progress boolean)
    limit $2::text::integer
  ) b
  cross join lateral (
    select from runs r where r.id = b.run_id and r.fence = b.fence and r.rev = b.rev and r.state = 'running'
    for update
  ) held
  limit $2::text::integer
)`

const lease = `app_now() + interval '${leaseSeconds} seconds'`
const returning = `from batch b
  where r.id = b.run_id and r.fence = b.fence and r.rev = b.rev
  returning b.n, r.id, r.workspace_id, r.priority, r.last_seq - b.events as base, r.state, r.pending_commands,
    r.deadline_at, b.applied`

const advanced = `rev = r.rev + 1, checkpoint_id = b.id, last_seq = r.last_seq + b.events,
    usage = coalesce(b.totals, r.usage), recoveries = case when b.progress then 0 else r.recoveries end`

/** All runs of the batch go on under their leases. */
const movedOn = `moved as (
  update runs r set
    ${advanced},
    lease_until = ${lease}
  ${returning}
)`

const ended = `b.state in ('succeeded', 'failed', 'canceled', 'timed_out')`
/** A run may not park, pause or be handed back while commands wait for it. */
const stays = `b.state is null
      or b.state in ('waiting', 'paused', 'queued') and r.pending_commands > coalesce(jsonb_array_length(b.applied), 0)`

const movedOrLeaving = `moved as (
  update runs r set
    ${advanced},
    pending_commands = case when ${ended} then 0 else r.pending_commands - coalesce(jsonb_array_length(b.applied), 0) end,
    state = case when ${stays} then r.state else b.state end,
    output = case when b.state is null then r.output else b.output end,
    error = case when b.state is null then r.error else b.error end,
    finished_at = case when ${ended} then app_now() end,
    lease_owner = case when ${stays} then r.lease_owner end,
    lease_until = case when ${stays} then ${lease} end
  ${returning}
)`

const steps = (rows: string) => `steps as (
  insert into run_steps (run_id, path, parent, ordinal, step_id, kind, status, attempts, output, error, state,
    wake_at, started_at, finished_at)
  select m.id, s.path, s.parent, s.ordinal, s.step_id, s.kind, s.status, s.attempts, s.output, s.error, s.state,
    coalesce(s.wake_at, app_now() + s.delay_ms * interval '1 millisecond'),
    app_now() - s.started_ms_ago * interval '1 millisecond',
    app_now() - s.finished_ms_ago * interval '1 millisecond'
  from moved m
  join json_to_recordset(${rows}) as s(
    n integer, path text, parent text, ordinal integer, step_id text, kind text, status text, attempts integer, output jsonb,
    error jsonb, state jsonb, delay_ms double precision, wake_at timestamptz, started_ms_ago double precision,
    finished_ms_ago double precision) on s.n = m.n
  on conflict (run_id, path) do update set
    status = excluded.status, attempts = excluded.attempts, output = excluded.output, error = excluded.error,
    state = excluded.state, wake_at = excluded.wake_at,
    started_at = coalesce(run_steps.started_at, excluded.started_at), finished_at = excluded.finished_at
)`

const calls = (rows: string) => `calls as (
  insert into run_calls (run_id, key, kind, request_hash, result)
  select m.id, c.key, c.kind, c.request_hash, case when c.known then coalesce(c.result, 'null') end
  from moved m
  join json_to_recordset(${rows}) as c(
    n integer, key text, kind text, request_hash text, known boolean, result jsonb) on c.n = m.n
  on conflict (run_id, key) do update set result = excluded.result where run_calls.result is null
)`

const events = (rows: string) => `events as (
  insert into run_events (run_id, seq, type, data, created_at)
  select m.id, m.base + e.seq, e.type, e.data, app_now() - e.ms_ago * interval '1 millisecond'
  from moved m
  join json_to_recordset(${rows}) as e(n integer, seq integer, type text, data jsonb, ms_ago double precision)
    on e.n = m.n
)`

const usage = (rows: string) => `usage as (
  insert into model_usage (id, workspace_id, provider, model, status, error, input_tokens, cached_input_tokens,
    output_tokens, reasoning_tokens, cost_usd, price, latency_ms, simulated, key_id, agent_id, run_id, step_path)
  select u.id, m.workspace_id, u.provider, u.model, u.status, u.error, u.input_tokens, u.cached_input_tokens,
    u.output_tokens, u.reasoning_tokens, u.cost_usd, u.price, u.latency_ms, u.simulated, u.key_id, u.agent_id,
    m.id, u.step_path
  from moved m
  join json_to_recordset(${rows}) as u(
    n integer, id uuid, provider text, model text, status text, error text, input_tokens integer,
    cached_input_tokens integer, output_tokens integer, reasoning_tokens integer, cost_usd numeric, price jsonb,
    latency_ms integer, simulated boolean, key_id uuid, agent_id uuid, step_path text) on u.n = m.n
)`

const parked = (rows: string) => `parked as (
  insert into waits (run_id, path, workspace_id, wake_at)
  select m.id, w.path, m.workspace_id,
    least(coalesce(w.wake_at, app_now() + w.delay_ms * interval '1 millisecond'), m.deadline_at)
  from moved m
  join json_to_recordset(${rows}) as w(n integer, path text, delay_ms double precision, wake_at timestamptz)
    on w.n = m.n
  where m.state = 'waiting'
)`

const requeued = `requeued as (
  insert into run_queue (run_id, workspace_id, priority)
  select id, workspace_id, priority from moved where state = 'queued'
)`

const applied = `applied as (
  update run_inbox i set applied_at = app_now()
  from moved m
  where i.run_id = m.id and i.applied_at is null
    and (m.applied ? i.id::text or m.state in ('succeeded', 'failed', 'canceled', 'timed_out'))
)`
