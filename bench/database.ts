import type { Kysely } from 'kysely'
import postgres from 'postgres'
import type { Log, Runtime } from '../src/context.ts'
import type { Database } from '../src/db/database.ts'
import { migrate } from '../src/db/migrate.ts'
import { uuidv7 } from '../src/lib/ids.ts'
import { systemClock } from '../src/runtime/clock.ts'
import { createLocalWake } from '../src/runtime/local-wake.ts'
import { createMemoryBlobs } from '../src/runtime/memory-blobs.ts'
import { postgresScopes } from '../src/runtime/postgres-dialect.ts'
import { PostgresPool } from '../src/runtime/postgres-pool.ts'

const server = process.env['TEST_POSTGRES_URL'] ?? 'postgres://postgres@127.0.0.1:5432/postgres'

export interface BenchDatabase {
  db: Kysely<Database>
  /** As many connections without pool and query builder: what raw SQL is measured with. */
  client: postgres.Sql
  workspaceId: string
  url: string
  /** One more pool on the same database. */
  another(): { db: Kysely<Database>; client: postgres.Sql }
}

/** A database of its own on a real PostgreSQL, dropped when `use` has ended. */
export async function withEmptyDatabase<T>(name: string, use: (url: string) => Promise<T>): Promise<T> {
  const admin = postgres(server, { max: 1, onnotice: () => {} })
  const url = new URL(server)
  url.pathname = `/automatos_bench_${process.pid}_${name}`
  const database = url.pathname.slice(1)
  await admin.unsafe(`create database ${database}`)
  try {
    return await use(url.href)
  } finally {
    await admin.unsafe(`drop database ${database} with (force)`)
    await admin.end()
  }
}

/** A pool such as the product's processes have. */
export function openDatabase(url: string, max = 10): Kysely<Database> {
  const pool = new PostgresPool({ connect: (line) => postgres(url, { ...line, onnotice() {} } as object), max })
  return postgresScopes(pool).engine
}

/** Migrates, and makes the one workspace of the bench if it is not there. Returns its id. */
export async function prepare(db: Kysely<Database>): Promise<string> {
  await migrate(db)
  const workspace = { id: uuidv7(), slug: 'bench', name: 'Bench' }
  await db
    .insertInto('workspaces')
    .values(workspace)
    .onConflict((c) => c.column('slug').doNothing())
    .execute()
  const { id } = await db.selectFrom('workspaces').select('id').where('slug', '=', 'bench').executeTakeFirstOrThrow()
  return id
}

/** A migrated database of its own with one workspace. */
export function withDatabase(use: (database: BenchDatabase) => Promise<void>): Promise<void> {
  return withEmptyDatabase('product', async (url) => {
    const clients: postgres.Sql[] = []
    const databases: Kysely<Database>[] = []
    const another = () => {
      const client = postgres(url, { max: 10, onnotice: () => {} })
      clients.push(client)
      const db = openDatabase(url)
      databases.push(db)
      return { client, db }
    }
    try {
      const { client, db } = another()
      await use({ db, client, workspaceId: await prepare(db), url, another })
    } finally {
      for (const db of databases) await db.destroy()
      for (const client of clients) await client.end({ timeout: 1 })
    }
  })
}

/** As much of a runtime as the engine and the schedules touch. */
export function runtimeOn(db: Kysely<Database>): Runtime {
  const log: Log = { debug() {}, info() {}, warn: console.warn, error: console.error, with: () => log }
  return { db, log, clock: systemClock, wake: createLocalWake(log), blobs: createMemoryBlobs() } as unknown as Runtime
}
