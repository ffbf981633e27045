import { sql, type RawBuilder, type SelectQueryBuilder } from 'kysely'
import { readCursor, type PageRequest, type Position } from '../lib/pagination.ts'

/**
 * The rows of a page, newest first by `created_at` and `id`, and the one more that `toPage` wants. `table` names it where a
 * join makes the columns ambiguous.
 */
export function newestFirst<DB, TB extends keyof DB, O>(
  query: SelectQueryBuilder<DB, TB, O>,
  page: PageRequest,
  table?: string,
): SelectQueryBuilder<DB, TB, O> {
  const column = (name: string) => sql.ref(table === undefined ? name : `${table}.${name}`)
  const after = readCursor(page.cursor)
  return query
    .$if(after !== null, (rest) => rest.where(olderThan(after!, column)))
    .orderBy(column('created_at'), 'desc')
    .orderBy(column('id'), 'desc')
    .limit(page.limit + 1)
}

const olderThan = ({ createdAt, id }: Position, column: (name: string) => RawBuilder<unknown>): RawBuilder<boolean> =>
  sql<boolean>`(${column('created_at')}, ${column('id')}) < (${createdAt.toISOString()}::text::timestamptz, ${id}::text::uuid)`
