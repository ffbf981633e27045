import { CompiledQuery, sql, type Kysely } from 'kysely'
import type { Database } from '../../db/database.ts'
import { toJsonText } from '../../db/json.ts'
import type { RunState } from '../../db/tables/runs.table.ts'
import type { Json, JsonObject } from '../../lib/json.ts'
import { checkpointStatement, rowParts, type CheckpointParts } from './checkpoint-statement.ts'
import type { StepRecord } from './records.ts'
import type { ModelUsage } from '../models/types.ts'
import type { CallKind } from './step-executor.ts'

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
  /** Stands still until somebody resumes it. */
  | { state: 'paused' }
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
  const batch = checkpoints.toSorted((a, b) => (a.runId < b.runId ? -1 : 1))
  const parts = partsOf(batch)
  const statement = CompiledQuery.raw(checkpointStatement(parts), [
    toJsonText(batch.map(toRow)),
    batch.length,
    ...rowParts.filter((part) => parts[part]).map((part) => toJsonText(batch.flatMap(rowsOf[part]))),
  ])
  const { rows } = await db.executeQuery<ResultRow>(statement)
  const results = new Map(rows.map(toResult))
  const missing = checkpoints.filter((checkpoint) => !results.has(checkpoint.runId))
  if (missing.length > 0) for (const [id, result] of await findStored(db, missing)) results.set(id, result)
  return results
}

interface ResultRow {
  id: string
  state: RunState
  pending_commands: number
}
const toResult = (row: ResultRow) => [row.id, { state: row.state, pendingCommands: row.pending_commands }] as const

/** Those whose commit had happened before, when the answer was lost. */
async function findStored(db: Kysely<Database>, missing: readonly Checkpoint[]) {
  const wanted = toJsonText(missing.map(({ id, runId, fence }) => ({ id, run_id: runId, fence })))
  const { rows } = await sql<ResultRow>`
    select r.id, r.state, r.pending_commands
    from jsonb_to_recordset(${wanted}::text::jsonb) as b(run_id uuid, id uuid, fence integer)
    join runs r on r.id = b.run_id and r.checkpoint_id = b.id and r.fence = b.fence`.execute(db)
  return rows.map(toResult)
}

const partsOf = (checkpoints: readonly Checkpoint[]): CheckpointParts => ({
  steps: checkpoints.some((c) => c.steps.length > 0),
  calls: checkpoints.some((c) => c.calls.length > 0),
  events: checkpoints.some((c) => c.events.length > 0),
  usage: checkpoints.some((c) => c.usage.length > 0),
  leaving: checkpoints.some((c) => c.leaving !== null),
  parked: checkpoints.some((c) => c.leaving?.state === 'waiting'),
  requeued: checkpoints.some((c) => c.leaving?.state === 'queued'),
  applied: checkpoints.some((c) => c.applied.length > 0),
})

/** What is empty or null is left out: the statement reads the same from less text. */
const toRow = (c: Checkpoint, n: number) => ({
  n,
  run_id: c.runId,
  id: c.id,
  fence: c.fence,
  rev: c.rev,
  events: c.events.length,
  totals: c.totals ?? undefined,
  state: c.leaving?.state,
  output: c.leaving && 'output' in c.leaving ? c.leaving.output : undefined,
  error: c.leaving && 'error' in c.leaving ? c.leaving.error : undefined,
  applied: c.applied.length === 0 ? undefined : c.applied,
  progress: c.progress || undefined,
})

/** Rows of each part, each with the place of its run in the batch. */
const rowsOf: { [part in (typeof rowParts)[number]]: (c: Checkpoint, n: number) => object[] } = {
  steps: (c, n) => c.steps.map((step) => withoutNulls(n, step)),
  calls: (c, n) => c.calls.map((call) => ({ n, ...call, known: call.result !== undefined })),
  events: (c, n) => c.events.map((event, index) => ({ n, seq: index + 1, ...event })),
  usage: (c, n) => c.usage.map((each) => ({ n, ...each })),
  parked: (c, n) => c.waits.map((wait) => ({ n, ...wait })),
}

function withoutNulls(n: number, row: object): object {
  const kept: Record<string, unknown> = { n }
  for (const [name, value] of Object.entries(row)) if (value !== null) kept[name] = value
  return kept
}
