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
 * The steps of a run, less what a resume does not need: the items of a foreach that have ended, and all that lies inside
 * them. Their foreach asks for them by itself (`loadEndedItems`), so a run with ten thousand items resumes without them.
 * `not in` is hashed whatever the planner knows of the table; `not exists` became a loop in a loop over fresh rows.
 */
export async function loadRecords(db: Kysely<Database>, runId: string): Promise<Map<string, StepRecord>> {
  const { rows } = await sql<StepRecord>`
    select s.path, s.parent, s.ordinal, s.step_id, s.kind, s.status, s.attempts, s.output, s.error, s.state, s.wake_at
    from run_steps s
    where s.run_id = ${runId}
      and not (s.kind = ${itemKind} and s.status in ('succeeded', 'failed', 'skipped', 'canceled'))
      and s.parent not in (
        select item.path from run_steps item
        where item.run_id = ${runId} and item.kind = ${itemKind} and item.status in ('succeeded', 'failed'))`.execute(
    db,
  )
  return new Map(rows.map((row) => [row.path, row]))
}

/** How an item of a foreach has ended. */
export interface EndedItem {
  succeeded: boolean
  error: JsonObject | null
}

/** The items of a foreach that have ended, by position. Errors only where they are asked for: ten thousand may have failed. */
export async function loadEndedItems(
  db: Kysely<Database>,
  runId: string,
  foreachPath: string,
  withErrors: boolean,
): Promise<Map<number, EndedItem>> {
  const rows = await db
    .selectFrom('run_steps')
    .select(['ordinal', 'status', sql<JsonObject | null>`case when ${withErrors}::boolean then error end`.as('error')])
    .where('run_id', '=', runId)
    .where('kind', '=', itemKind)
    .where('status', 'in', ['succeeded', 'failed', 'skipped', 'canceled'])
    // '0' follows '/' in ASCII: all paths below this one. Items of a foreach inside have a further '/'.
    .where('path', '>=', `${foreachPath}/`)
    .where('path', '<', `${foreachPath}0`)
    .where(sql<boolean>`position('/' in substr(path, ${foreachPath.length + 2}::integer)) = 0`)
    .execute()
  return new Map(
    rows.map(({ ordinal, status, error }) => [
      ordinal,
      status === 'succeeded' ? succeededItem : error === null ? failedItem : { succeeded: false, error },
    ]),
  )
}

const succeededItem: EndedItem = { succeeded: true, error: null }
const failedItem: EndedItem = { succeeded: false, error: null }

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

/** Of an output at most 256 KB lie in its row, so that a read holds 16 MB at the very most. */
const outputsInOneRead = 64

/** The outputs of a foreach's items in order; null where an item failed. Read as they are taken. */
export async function* loadItemOutputs(
  read: <T>(statement: () => Promise<T>) => Promise<T>,
  db: Kysely<Database>,
  runId: string,
  foreachPath: string,
  count: number,
): AsyncGenerator<Json> {
  for (let from = 0; from < count; from += outputsInOneRead) {
    const to = Math.min(count, from + outputsInOneRead) - 1
    // Each row by its own key: reading on from an ordinal would sort all of them for every page.
    const { rows } = await read(() =>
      sql<{ output: Json }>`
        select item.output from generate_series(${from}::integer, ${to}::integer) as n
        left join lateral (
          select output from run_steps where run_id = ${runId} and path = ${`${foreachPath}/`}::text || n limit 1
        ) item on true
        order by n`.execute(db),
    )
    for (const row of rows) yield row.output
  }
}
