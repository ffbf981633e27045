import { randomUUID } from 'node:crypto'
import { PGlite } from '@electric-sql/pglite'
import { Kysely, PGliteDialect, sql } from 'kysely'
import postgres from 'postgres'
import { inject, onTestFinished } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { migrate } from '../../src/db/migrate.ts'
import { postgresDialect } from '../../src/runtime/postgres-dialect.ts'
import { PostgresPool } from '../../src/runtime/postgres-pool.ts'

export interface TestDatabase {
  db: Kysely<Database>
  /** Set on PostgreSQL: other processes and connections can open the same database. */
  url?: string
  /** Moves `app_now()` for every connection; the state is the database's own. */
  shiftClock(offset: { seconds: number }): Promise<void>
  close(): Promise<void>
}

declare module 'vitest' {
  interface ProvidedContext {
    /** Base URL of a PostgreSQL to test on; absent = PGlite. */
    postgresUrl: string | undefined
    /** A migrated, empty PGlite as a tar file, so that a test file opens one in a fraction of the time of initdb. */
    pgliteDump: string | undefined
  }
}

/** An empty, migrated database of its own: on PostgreSQL in the `postgres` project, else PGlite in memory. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const base = inject('postgresUrl')
  return base ? onPostgres(base) : onPGlite()
}

async function onPGlite(): Promise<TestDatabase> {
  const dump = inject('pgliteDump')
  const pglite = dump
    ? await PGlite.create({ loadDataDir: new Blob([await (await import('node:fs/promises')).readFile(dump)]) })
    : await PGlite.create()
  const db = new Kysely<Database>({ dialect: new PGliteDialect({ pglite }) })
  await migrate(db)
  return { db, shiftClock: clockShifter(db), close: () => db.destroy() }
}

async function onPostgres(base: string): Promise<TestDatabase> {
  const name = `automatos_${randomUUID().replaceAll('-', '').slice(0, 16)}`
  const admin = postgres(base, { max: 1, onnotice: () => {} })
  await admin.unsafe(`create database ${name}`)
  const url = new URL(base)
  url.pathname = `/${name}`
  const pool = new PostgresPool({ connect: (line) => postgres(url.href, { ...line, onnotice() {} } as object), max: 8 })
  const db = new Kysely<Database>({ dialect: postgresDialect(pool) })
  await migrate(db)
  return {
    db,
    url: url.href,
    shiftClock: clockShifter(db),
    async close() {
      // Bounded, because a test may leave a statement that waits for a lock.
      await pool.close(1_000)
      await admin.unsafe(`drop database if exists ${name} with (force)`)
      await admin.end()
    },
  }
}

const clockShifter = (db: Kysely<Database>) => async (offset: { seconds: number }) => {
  await sql
    .raw(
      `create or replace function app_now() returns timestamptz language sql stable as
       'select statement_timestamp() + interval ''${offset.seconds} seconds'''`,
    )
    .execute(db)
}

/** For a single test: closes with it. */
export async function databaseForTest(): Promise<TestDatabase> {
  const database = await createTestDatabase()
  onTestFinished(() => database.close())
  return database
}
