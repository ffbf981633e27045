import { randomUUID } from 'node:crypto'
import { PGlite } from '@electric-sql/pglite'
import { sql, type Kysely } from 'kysely'
import postgres from 'postgres'
import { inject, onTestFinished } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { migrate } from '../../src/db/migrate.ts'
import { migrations } from '../../src/db/migrations/index.ts'
import { pgliteScopes } from '../../src/runtime/node/pglite-dialect.ts'
import { postgresScopes } from '../../src/runtime/postgres-dialect.ts'
import { PostgresPool } from '../../src/runtime/postgres-pool.ts'

export interface TestDatabase {
  /** As who logged in, a superuser: for what a test puts there, and looks at afterwards. */
  db: Kysely<Database>
  /** As the product has it: `Runtime.db`. */
  engine: Kysely<Database>
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
    /** A migrated database there that others are copied from. */
    postgresTemplate: string | undefined
    /** A migrated, empty PGlite as a tar file, so that a test file opens one in a fraction of the time of initdb. */
    pgliteDump: string | undefined
  }
}

/**
 * An empty, migrated database of its own: on PostgreSQL in the `postgres` project, else PGlite in memory. On PostgreSQL it can
 * be one of an older version.
 */
export async function createTestDatabase(list = migrations): Promise<TestDatabase> {
  const base = inject('postgresUrl')
  return base ? onPostgres(base, list) : onPGlite()
}

async function onPGlite(): Promise<TestDatabase> {
  const dump = inject('pgliteDump')
  const pglite = dump
    ? await PGlite.create({ loadDataDir: new Blob([await (await import('node:fs/promises')).readFile(dump)]) })
    : await PGlite.create()
  const { login: db, engine } = pgliteScopes(pglite)
  await migrate(db)
  return { db, engine, shiftClock: clockShifter(db), close: () => db.destroy() }
}

async function onPostgres(base: string, list: typeof migrations): Promise<TestDatabase> {
  const name = `automatos_${randomUUID().replaceAll('-', '').slice(0, 16)}`
  const admin = postgres(base, { max: 1, onnotice: () => {} })
  const template = list === migrations ? inject('postgresTemplate') : undefined
  await admin.unsafe(`create database ${name}${template ? ` template ${template}` : ''}`)
  const url = new URL(base)
  url.pathname = `/${name}`
  const pool = new PostgresPool({ connect: (line) => postgres(url.href, { ...line, onnotice() {} } as object), max: 8 })
  const { login: db, engine } = postgresScopes(pool)
  await migrate(db, list)
  return {
    db,
    engine,
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
export async function databaseForTest(list = migrations): Promise<TestDatabase> {
  const database = await createTestDatabase(list)
  onTestFinished(() => database.close())
  return database
}
