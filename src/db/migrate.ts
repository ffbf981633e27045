import { sql, type Kysely } from 'kysely'
import type { Database } from './database.ts'
import { migrations } from './migrations/index.ts'
import type { Migration } from './migrations/migration.ts'
import { appliedMigrations, pendingMigrations } from './pending-migrations.ts'
import { asLogin, roles } from './scope.ts'

// "automatos" in ASCII, cut to the 63 bits of an advisory lock key.
const lockKey = '7022364301933933167'

/**
 * How often a lock on all tables is tried, and for how long one of them is waited for. Short first: where transactions come all
 * the time, one of them mostly stands in a circle with the migration, and those who serve should wait no longer for it than
 * they notice. Then still less than the second after which PostgreSQL ends somebody's statement for a deadlock. Last for what
 * holds a table longer: an autovacuum steps aside for whoever has waited that second.
 */
const tries = [
  ...Array.from({ length: 150 }, () => 50),
  ...Array.from({ length: 15 }, () => 800),
  ...Array.from({ length: 10 }, () => 5_000),
]

/**
 * Brings the schema up to date, one transaction for all that is pending: a failed migration leaves nothing behind.
 * Safe to call from any number of processes at once: an advisory lock lets one work while the others wait. Processes of the
 * version before may serve meanwhile: where they and the migration wait for each other, it steps back and tries again.
 * Returns the names that were applied.
 */
export async function migrate(db: Kysely<Database>, list: readonly Migration[] = migrations): Promise<string[]> {
  // The usual start finds nothing to do, and needs no lock to know.
  const names = list.map((migration) => migration.name)
  if ((await pendingMigrations(db, names)).length === 0) return []
  let fault: unknown
  for (const patienceMs of tries) {
    try {
      return await applyPending(db, list, patienceMs)
    } catch (error) {
      if (!isInTheWay(error)) throw error
      fault = error
    }
    await new Promise((resolve) => setTimeout(resolve, 50 + 100 * Math.random()))
  }
  throw new Error('Others hold tables that the migration has to change.', { cause: fault })
}

/** A deadlock, or a lock that did not come in time. */
function isInTheWay(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code
  return code === '40P01' || code === '55P03' || code === '57014'
}

async function applyPending(db: Kysely<Database>, list: readonly Migration[], patienceMs: number): Promise<string[]> {
  return asLogin(db)
    .transaction()
    .execute(async (tx) => {
      await sql`set local lock_timeout = 0`.execute(tx)
      await sql`set local statement_timeout = 0`.execute(tx)
      await sql`select pg_advisory_xact_lock(${lockKey}::text::bigint)`.execute(tx)
      // Whoever owns the schema changes it. Of a database that is new, or older than that role, it is who logged in.
      await sql`select set_config('role', tableowner, true) from pg_tables
      where schemaname = current_schema() and tablename = 'schema_migrations' and tableowner = ${roles.migrator}`.execute(
        tx,
      )
      await sql`create table if not exists schema_migrations (
      name text primary key, applied_at timestamptz(3) not null default statement_timestamp())`.execute(tx)
      const done = await appliedMigrations(tx)
      const pending = list.filter((migration) => !done.has(migration.name))
      await lockTables(
        tx,
        pending.flatMap(({ locks = [] }) => locks),
        patienceMs,
      )
      for (const migration of pending) {
        for (const statement of migration.statements) await sql.raw(statement).execute(tx)
        await sql`insert into schema_migrations (name) values (${migration.name})`.execute(tx)
      }
      // Tables of workspaces are never without their policies, whatever a migration says of them.
      await sql`do $$ begin
      if to_regproc('secure_tables') is not null then perform secure_tables(); end if;
    end $$`.execute(tx)
      return pending.map(({ name }) => name)
    })
}

/** All or none, within the time: who holds every table cannot be in a deadlock any more. */
async function lockTables(tx: Kysely<Database>, wanted: readonly string[], patienceMs: number): Promise<void> {
  const { rows } = await sql<{ name: string }>`
    select c.relname as name from pg_class c
    where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p')
      and c.relname = any(${`{${wanted.join(',')}}`}::text[])`.execute(tx)
  const there = new Set(rows.map(({ name }) => name))
  const tables = [...new Set(wanted)].filter((name) => there.has(name)).map((name) => sql.table(name))
  if (tables.length === 0) return
  await sql`set local lock_timeout = ${sql.lit(patienceMs)}`.execute(tx)
  await sql`set local statement_timeout = ${sql.lit(Math.max(patienceMs, 800))}`.execute(tx)
  await sql`lock table ${sql.join(tables)} in access exclusive mode`.execute(tx)
  await sql`set local lock_timeout = 0`.execute(tx)
  await sql`set local statement_timeout = 0`.execute(tx)
}
