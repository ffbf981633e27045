import { sql, type Kysely } from 'kysely'
import type { Database } from './database.ts'
import { migrationNames } from './migrations/names.ts'
import { asLogin } from './scope.ts'

/** Names of migrations the database lacks; all of them where it has never been migrated. */
export async function pendingMigrations(
  db: Kysely<Database>,
  names: readonly string[] = migrationNames,
): Promise<string[]> {
  // The roles of other scopes come with a migration.
  const login = asLogin(db)
  const { rows } = await sql<{ known: boolean }>`select to_regclass('schema_migrations') is not null as known`.execute(
    login,
  )
  const done = rows[0]?.known ? await appliedMigrations(login) : new Set<string>()
  return names.filter((name) => !done.has(name))
}

export async function appliedMigrations(db: Kysely<Database>): Promise<Set<string>> {
  const { rows } = await sql<{ name: string }>`select name from schema_migrations`.execute(db)
  return new Set(rows.map((row) => row.name))
}
