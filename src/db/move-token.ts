import { sql, type Kysely } from 'kysely'
import type { Database } from './database.ts'

/** A comment belongs to the transaction that makes it, needs no table of its own, and comes along with a dump. */
const words = 'Moved here from an embedded database: '

/** Says in the transaction that fills a database where its rows are from. The caller owns the schema. */
export async function writeMoveToken(tx: Kysely<Database>, token: string): Promise<void> {
  await sql`comment on table schema_migrations is ${sql.lit(words + token)}`.execute(tx)
}

/** Whether the move of this name was committed here. */
export async function hasMoveToken(db: Kysely<Database>, token: string): Promise<boolean> {
  const { rows } = await sql<{ comment: string | null }>`
    select obj_description('schema_migrations'::regclass, 'pg_class') as comment`.execute(db)
  return rows[0]!.comment === words + token
}
