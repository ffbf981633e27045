import { sql, type Kysely } from 'kysely'
import type { Database } from '../../db/database.ts'
import type { StepStatus } from '../../db/tables/runs.table.ts'
import type { Json, JsonObject } from '../../lib/json.ts'

/** What is stored of a step. */
export interface StepRecord {
  path: string
  parent: string
  ordinal: number
  step_id: string
  kind: string
  status: StepStatus
  attempts: number
  output: Json
  error: JsonObject | null
  state: JsonObject | null
  wake_at: Date | null
}

/** Kind of the row that stands for one item of a foreach. */
export const itemKind = 'item'

export const hasEnded = (status: StepStatus): boolean =>
  status === 'succeeded' || status === 'failed' || status === 'skipped' || status === 'canceled'

/**
 * The steps of a run, less what a resume does not need: the outputs of finished foreach items and all that lies
 * inside them. So a run with ten thousand items resumes with their states alone.
 */
export async function loadRecords(db: Kysely<Database>, runId: string): Promise<Map<string, StepRecord>> {
  const { rows } = await sql<StepRecord>`
    select s.path, s.parent, s.ordinal, s.step_id, s.kind, s.status, s.attempts,
      case when s.kind <> ${itemKind} then s.output end as output, s.error, s.state, s.wake_at
    from run_steps s
    where s.run_id = ${runId} and not exists (
      select 1 from run_steps item
      where item.run_id = s.run_id and item.path = s.parent and item.kind = ${itemKind}
        and item.status in ('succeeded', 'failed'))`.execute(db)
  return new Map(rows.map((row) => [row.path, row]))
}

/** Recorded effects of a step; undefined as result: started, and nobody knows how it ended. Keys begin with `<generation>/<path>/`. */
export async function loadCalls(
  db: Kysely<Database>,
  runId: string,
  step: string,
): Promise<Map<string, { result: Json | undefined }>> {
  const rows = await db
    .selectFrom('run_calls')
    .select(['key', 'result', sql<boolean>`result is null`.as('unknown')])
    .where('run_id', '=', runId)
    .where('key', '>=', `${step}/`)
    .where('key', '<', `${step}0`)
    .execute()
  return new Map(rows.map((row) => [row.key, { result: row.unknown ? undefined : row.result }]))
}

/** The outputs of a foreach's items in order; null where an item failed. */
export async function loadItemOutputs(db: Kysely<Database>, runId: string, foreachPath: string): Promise<Json[]> {
  const rows = await db
    .selectFrom('run_steps')
    .select('output')
    .where('run_id', '=', runId)
    .where('kind', '=', itemKind)
    // '0' follows '/' in ASCII: all paths below this one. Items of a foreach inside have a further '/'.
    .where('path', '>=', `${foreachPath}/`)
    .where('path', '<', `${foreachPath}0`)
    .where(sql<boolean>`position('/' in substr(path, ${foreachPath.length + 2}::integer)) = 0`)
    .orderBy('ordinal')
    .execute()
  return rows.map((row) => row.output)
}
