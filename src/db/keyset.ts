import { sql, type RawBuilder } from 'kysely'
import type { Position } from '../lib/pagination.ts'

/**
 * The rows that come after a position in a list ordered `created_at desc, id desc`. `table` names it where a join makes the
 * columns ambiguous. Order by the same two columns and read `limit + 1` rows for `toPage`.
 */
export function olderThan({ createdAt, id }: Position, table?: string): RawBuilder<boolean> {
  const column = (name: string) => sql.ref(table === undefined ? name : `${table}.${name}`)
  return sql<boolean>`(${column('created_at')}, ${column('id')}) < (${createdAt.toISOString()}::text::timestamptz, ${id}::text::uuid)`
}
