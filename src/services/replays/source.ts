import { sql, type Kysely } from 'kysely'
import type { Database } from '../../db/database.ts'
import type { RunState } from '../../db/tables/runs.table.ts'
import { addDecimals } from '../../lib/decimal.ts'
import type { Json, JsonObject } from '../../lib/json.ts'
import type { RecipeDefinition } from '../recipes/definition.ts'
import type { StepRecord } from '../runs/records.ts'
import { definitionOf } from '../runs/retry.ts'

/** A larger run is not compared: all of it is held in memory at once. */
export const mostSteps = 5_000

export interface RecordedCall {
  kind: string
  request_hash: string | null
  result: Json
}

/** All that is recorded of a run that has ended. */
export interface RecordedRun {
  id: string
  workspace_id: string
  recipe_id: string | null
  recipe_version: number | null
  state: RunState
  trigger: JsonObject
  schedule_id: string | null
  slot_at: Date | null
  state_key: string | null
  input: Json
  output: Json
  started_at: Date
  definition: RecipeDefinition
  steps: Map<string, StepRecord>
  /** Calls with a known result, by path of their step. */
  calls: Map<string, RecordedCall[]>
  /** What the model calls of a step have cost; null where any of it is unknown. */
  costs: Map<string, string | null>
  previous: Json
}

/** Null where the run is gone; a text where it cannot be compared. */
export async function loadRecorded(
  db: Kysely<Database>,
  workspaceId: string,
  runId: string,
): Promise<RecordedRun | string | null> {
  const run = await db
    .selectFrom('runs')
    .select(['id', 'workspace_id', 'recipe_id', 'recipe_version', 'definition', 'state', 'trigger', 'schedule_id'])
    .select(['slot_at', 'state_key', 'input', 'output', 'started_at', 'generation'])
    .where('workspace_id', '=', workspaceId)
    .where('id', '=', runId)
    .executeTakeFirst()
  if (!run) return null
  if (run.started_at === null) return 'It never began.'
  const steps = await db
    .selectFrom('run_steps')
    .select([
      'path',
      'parent',
      'ordinal',
      'step_id',
      'kind',
      'status',
      'attempts',
      'output',
      'error',
      'state',
      'wake_at',
    ])
    .where('run_id', '=', runId)
    .limit(mostSteps + 1)
    .execute()
  if (steps.length > mostSteps) return `It has more than ${mostSteps} steps.`
  const [calls, costs, definition] = await Promise.all([
    db
      .selectFrom('run_calls')
      .select(['key', 'kind', 'request_hash', 'result'])
      .where('run_id', '=', runId)
      .where('result', 'is not', null)
      // The answers of the last generation come first.
      .orderBy('created_at', 'desc')
      .execute(),
    db.selectFrom('model_usage').select(['step_path', 'cost_usd']).where('run_id', '=', runId).execute(),
    definitionOf(db, run),
  ])
  const { generation: _, definition: __, started_at, ...rest } = run
  const recorded: RecordedRun = {
    ...rest,
    started_at,
    definition,
    steps: new Map(steps.map((step) => [step.path, step])),
    calls: new Map(),
    costs: new Map(),
    previous: null,
  }
  for (const { key, ...call } of calls) {
    const path = pathOf(key)
    recorded.calls.set(path, [...(recorded.calls.get(path) ?? []), call as RecordedCall])
  }
  for (const { step_path, cost_usd } of costs) {
    const path = step_path ?? ''
    const sum = recorded.costs.has(path) ? recorded.costs.get(path)! : '0'
    recorded.costs.set(path, sum === null || cost_usd === null ? null : addDecimals(sum, cost_usd))
  }
  return { ...recorded, previous: await previousOf(db, recorded) }
}

/** `<generation>/<path>/<round>.<call>` */
const pathOf = (key: string): string => key.slice(key.indexOf('/') + 1, key.lastIndexOf('/'))

/** What the run itself saw as `previous`, as far as it is still there. */
async function previousOf(db: Kysely<Database>, run: RecordedRun): Promise<Json> {
  if (run.recipe_id === null) return null
  const { rows } = await sql<{ output: Json; finished_at: Date }>`
    select output, finished_at from runs
    where recipe_id = ${run.recipe_id} and workspace_id = ${run.workspace_id} and state = 'succeeded'
      and state_key is not distinct from ${run.state_key}::text and finished_at <= ${run.started_at.toISOString()}::text::timestamptz
    order by finished_at desc limit 1`.execute(db)
  const row = rows[0]
  return row ? { output: row.output, finished_at: row.finished_at.toISOString() } : null
}
