import { sql, type Kysely, type RawBuilder, type Transaction } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { jsonb, toJsonText } from '../../db/json.ts'
import type { Json, JsonObject } from '../../lib/json.ts'
import { notedBlobs } from '../files/run-blobs.ts'
import { rehome, renamed, type Moved } from './spill.ts'

/**
 * Large values are kept below the run that they belong to, and go with it: those that the `kept` steps of a run name are copied
 * for another. What comes back lets the other's rows, once they are there, name the copies. No more than one row is ever held.
 */
export async function moveBlobs(
  ctx: ServiceContext,
  from: string,
  to: string,
  kept: readonly string[],
): Promise<(tx: Transaction<Database>) => Promise<void>> {
  const { workspaceId } = ctx.actor
  const blobs = notedBlobs(ctx)
  const moved: Moved = new Map()
  const paths = kept.length === 0 ? [] : await pathsNamingBlobs(ctx.db, from, kept)
  for (const path of paths) {
    const row = await readRow(ctx.db, from, path)
    if (!row) continue
    await rehome(blobs, workspaceId, to, row.output, moved)
    await rehome(blobs, workspaceId, to, row.items, moved)
  }
  return async (tx) => {
    for (const path of paths) {
      const row = await readRow(tx, to, path)
      if (!row) continue
      const { output, state, items } = row
      await tx
        .updateTable('run_steps')
        .set({
          ...(output !== null && { output: jsonb(renamed(workspaceId, output, moved)) }),
          ...(items !== null && { state: jsonb({ ...state, items: renamed(workspaceId, items, moved) }) }),
        })
        .where('run_id', '=', to)
        .where('path', '=', path)
        .execute()
    }
  }
}

const names = (value: RawBuilder<unknown>) => sql<boolean>`${value}::text like '%"$blob"%'`
const output = sql`output`
const items = sql`(state -> 'items')`

async function pathsNamingBlobs(db: Kysely<Database>, runId: string, kept: readonly string[]): Promise<string[]> {
  const { rows } = await sql<{ path: string }>`
    select path from run_steps
    where run_id = ${runId} and path in (select jsonb_array_elements_text(${toJsonText([...kept])}::text::jsonb))
      and (${names(output)} or ${names(items)})
    order by path`.execute(db)
  return rows.map(({ path }) => path)
}

/** Null in place of what names no blob. */
async function readRow(db: Kysely<Database>, runId: string, path: string) {
  const { rows } = await sql<{ output: Json; items: Json; state: JsonObject | null }>`
    select case when ${names(output)} then output end as output, case when ${names(items)} then ${items} end as items,
      case when ${names(items)} then state - 'items' end as state
    from run_steps where run_id = ${runId} and path = ${path}`.execute(db)
  return rows[0]
}
