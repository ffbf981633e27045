import { sql, type Kysely, type RawBuilder } from 'kysely'
import type { Database } from '../../db/database.ts'
import type { RetentionKind } from '../../db/tables/retention.table.ts'

/** Rows of one pass over a table. */
export const retentionBatch = 500

/**
 * Runs a statement that deletes and returns `workspace_id`, and adds to the figures in the same statement: what is counted
 * was deleted, and what was deleted is counted. `before` ends with a comma and `after` begins with one: expressions around it.
 */
export async function countedDelete(
  db: Kysely<Database>,
  kind: RetentionKind,
  deletion: { before?: RawBuilder<unknown>; deleting: RawBuilder<unknown>; after?: RawBuilder<unknown> },
): Promise<number> {
  const { rows } = await sql<{ count: number }>`
    with ${deletion.before ?? sql``} deleted as (${deletion.deleting}), counted as (
      insert into retention_figures as f (workspace_id, kind, deleted)
      select workspace_id, ${kind}::text, count(*) from deleted group by workspace_id order by workspace_id
      on conflict (workspace_id, kind) do update
        set deleted = f.deleted + excluded.deleted, last_deleted_at = app_now()
    ) ${deletion.after ?? sql``}
    select count(*)::integer as count from deleted`.execute(db)
  return rows[0]?.count ?? 0
}
