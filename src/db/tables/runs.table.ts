import type { ColumnType, Generated } from 'kysely'
import type { Json, JsonObject } from '../../lib/json.ts'
import type { JsonColumn, NullableJsonColumn } from '../json.ts'

export type RunState =
  | 'queued'
  | 'blocked'
  | 'running'
  | 'waiting'
  | 'paused'
  | 'succeeded'
  | 'failed'
  | 'canceled'
  | 'timed_out'
export type StepStatus = 'pending' | 'running' | 'waiting' | 'succeeded' | 'failed' | 'skipped' | 'canceled'

export interface RunsTable {
  id: string
  workspace_id: string
  /** Null for a run without a recipe (one agent executed), which carries its definition itself. */
  recipe_id: string | null
  recipe_version: number | null
  definition: NullableJsonColumn<JsonObject>
  state: RunState
  /** `{kind: 'api'|'schedule'|'agent', …}` */
  trigger: JsonColumn<JsonObject>
  schedule_id: string | null
  slot_at: Date | null
  /** With recipe_id: whose last success is `previous`. The schedule's id, or the caller's `state_key`. */
  state_key: string | null
  idempotency_key: string | null
  /** SHA-256 of the request that came with the key: same key and other body is a conflict. */
  request_hash: string | null
  input: JsonColumn<Json>
  output: NullableJsonColumn<Json>
  error: NullableJsonColumn<JsonObject>
  /** Moves by one with every checkpoint. */
  rev: Generated<number>
  checkpoint_id: string | null
  last_seq: Generated<number>
  generation: Generated<number>
  engine_version: Generated<number>
  /** Grows with every claim and with every outside intervention; a checkpoint under an older fence writes nothing. */
  fence: Generated<number>
  lease_owner: string | null
  lease_until: Date | null
  /** Commands in the inbox that no one has applied yet. */
  pending_commands: Generated<number>
  /** Claims after an expired lease since the last progress. */
  recoveries: Generated<number>
  priority: Generated<number>
  /** It is under a limit: a claim asks for its slots, and what ends it gives them back. */
  slotted: Generated<boolean>
  /** Totals: model_calls, input_tokens, output_tokens, cost_usd (decimal text or null when any cost is unknown). */
  usage: Generated<JsonColumn<JsonObject>>
  created_by: string | null
  created_at: ColumnType<Date, Date | undefined, never>
  /** The run's recorded instant: `now` in every expression, also after a resume. */
  started_at: Date | null
  finished_at: Date | null
  timeout_ms: number | null
  /** When the whole run's time is up, counted from its first claim; null = no limit. */
  deadline_at: Date | null
  /** The run's span, which others are children of before it is written: see run-trace.ts. */
  trace_context: NullableJsonColumn<JsonObject>
  /** Of a run that somebody has subscribed to: how many of its generations have had their end told. Null = of none. */
  announced_generation: number | null
  /** The last event that was told. */
  announced_seq: number | null
  /** The run whose step started this one; it may have been deleted since. Cancel and time limits go down along it. */
  parent_run_id: Generated<string | null>
  /** The run that this one repeats, and the path of the step that it began with; it may have been deleted since. */
  replay_of: Generated<string | null>
  replayed_from: Generated<string | null>
}

/** Only ready work is in it. Rows are inserted and deleted, never updated. */
export interface RunQueueTable {
  run_id: string
  workspace_id: string
  priority: Generated<number>
  ready_at: Generated<Date>
}

/** What a parked run waits for. A row whose wake_at is past moves the run to the queue. */
export interface WaitsTable {
  run_id: string
  path: string
  workspace_id: string
  wake_at: Date | null
}

export interface RunStepsTable {
  run_id: string
  /** `fetch`, `each/3/note`, `route/default/send`; a second visit is `fetch~2`. */
  path: string
  /** Path of the nearest enclosing foreach item, '' outside of any. */
  parent: string
  /** Order of first entry within the run; of an item, its index. */
  ordinal: number
  step_id: string
  kind: string
  status: StepStatus
  attempts: number
  output: NullableJsonColumn<Json>
  error: NullableJsonColumn<JsonObject>
  /** What the step needs to go on: agent snapshot, item cursor, … */
  state: NullableJsonColumn<JsonObject>
  wake_at: Date | null
  started_at: Date | null
  finished_at: Date | null
}

/** Recorded effects: model rounds, tool calls, http calls. A recorded call is never repeated. */
export interface RunCallsTable {
  run_id: string
  /** `<generation>/<path>/<round>.<call>` */
  key: string
  kind: 'model' | 'tool' | 'http' | 'notify'
  /** SHA-256 of the canonical request. */
  request_hash: string | null
  /** Null: started and, as far as is known, not finished (`once`). */
  result: NullableJsonColumn<Json>
  created_at: ColumnType<Date, Date | undefined, never>
}

export interface RunEventsTable {
  run_id: string
  seq: number
  type: string
  data: JsonColumn<JsonObject>
  created_at: ColumnType<Date, Date | undefined, never>
}

export interface RunInboxTable {
  id: string
  run_id: string
  kind: 'cancel' | 'pause' | 'resume' | 'look'
  payload: JsonColumn<JsonObject>
  created_at: ColumnType<Date, Date | undefined, never>
  applied_at: Date | null
}

/** What is told of a failed generation of a run; see services/notify/failure-notices.ts. */
export interface FailureNoticesTable {
  run_id: string
  generation: number
  number: number
  workspace_id: string
  state: 'failed' | 'timed_out'
  notice: JsonColumn<JsonObject>
  delivery: Generated<'pending' | 'sent' | 'failed'>
  attempts: Generated<number>
  next_attempt_at: Date | null
  error: string | null
  created_at: ColumnType<Date, Date | undefined, never>
}
