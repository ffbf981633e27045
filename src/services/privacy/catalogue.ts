import { sql, type Kysely } from 'kysely'
import type { Database } from '../../db/database.ts'
import { roles } from '../../db/scope.ts'

export interface TableShape {
  name: string
  /** Of the primary key, in its order, with their types. */
  key: { name: string; type: string }[]
  columns: string[]
  /** By what its rows belong to a workspace: their own column, or the run that they are of. */
  scope: 'workspace_id' | 'run_id'
}

/** Nobody's data: answers that are kept for a repeated request may hold a secret that is told once, the rest is bookkeeping. */
const left: ReadonlySet<string> = new Set(['idempotency_keys', 'spent_tokens', 'privacy_exports', 'revoked_sessions'])

/** What proves or opens something is no data about anybody, and an archive is carried around. */
const secretColumns =
  /^(sealed.*|.*_sealed|secret|.*_secret|.*token|.*token_hash|hash|previous_hash|.*key_hash|signature|.*_signature|.*nonce|ciphertext)$/

/** Of the log that verifies itself the hashes belong to the data. */
const isSecret = (table: string, column: string): boolean => !table.startsWith('audit_') && secretColumns.test(column)

/**
 * Every table of ours with rows of a workspace, as the database itself has them: one that is added is exported without anybody
 * thinking of it.
 */
export async function tablesOfWorkspaces(db: Kysely<Database>): Promise<TableShape[]> {
  const { rows } = await sql<{ name: string; columns: string[]; key: TableShape['key'] | null }>`
    select c.relname as name,
      (select jsonb_agg(a.attname order by a.attnum) from pg_attribute a
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns,
      (select jsonb_agg(jsonb_build_object('name', a.attname, 'type', format_type(a.atttypid, null)) order by k.n)
        from pg_index i cross join lateral unnest(i.indkey::smallint[]) with ordinality k(attnum, n)
        join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
        where i.indrelid = c.oid and i.indisprimary) as key
    from pg_class c
    where c.relkind in ('r', 'p') and not c.relispartition and c.relowner = to_regrole(${roles.migrator}::text)
      and c.relnamespace = (select oid from pg_namespace where nspname = current_schema())
    order by c.relname`.execute(db)
  return rows.flatMap(({ name, columns, key }) => {
    const scope = (['workspace_id', 'run_id'] as const).find((column) => columns.includes(column))
    if (!scope || !key || left.has(name)) return []
    return [{ name, key, scope, columns: columns.filter((column) => !isSecret(name, column)) }]
  })
}
