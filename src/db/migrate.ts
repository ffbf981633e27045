import { sql, type Kysely } from 'kysely'
import type { Database } from './database.ts'
import { migrations } from './migrations/index.ts'
import type { Migration } from './migrations/migration.ts'
import { appliedMigrations, pendingMigrations } from './pending-migrations.ts'

// "automatos" in ASCII, cut to the 63 bits of an advisory lock key.
const lockKey = '7022364301933933167'

/**
 * Brings the schema up to date, one transaction for all that is pending: a failed migration leaves nothing behind.
 * Safe to call from any number of processes at once: an advisory lock lets one work while the others wait.
 * Returns the names that were applied.
 */
export async function migrate(db: Kysely<Database>, list: readonly Migration[] = migrations): Promise<string[]> {
  // The usual start finds nothing to do, and needs no lock to know.
  const names = list.map((migration) => migration.name)
  if ((await pendingMigrations(db, names)).length === 0) return []
  return db.transaction().execute(async (tx) => {
    await sql`set local lock_timeout = 0`.execute(tx)
    await sql`set local statement_timeout = 0`.execute(tx)
    await sql`select pg_advisory_xact_lock(${lockKey}::text::bigint)`.execute(tx)
    await sql`create table if not exists schema_migrations (
      name text primary key, applied_at timestamptz(3) not null default statement_timestamp())`.execute(tx)
    const done = await appliedMigrations(tx)
    const pending = list.filter((migration) => !done.has(migration.name))
    for (const migration of pending) {
      for (const statement of migration.statements) await sql.raw(statement).execute(tx)
      await sql`insert into schema_migrations (name) values (${migration.name})`.execute(tx)
    }
    return pending.map((migration) => migration.name)
  })
}
