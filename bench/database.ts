import { Kysely } from 'kysely'
import postgres from 'postgres'
import type { Log, Runtime } from '../src/context.ts'
import type { Database } from '../src/db/database.ts'
import { migrate } from '../src/db/migrate.ts'
import { uuidv7 } from '../src/lib/ids.ts'
import { systemClock } from '../src/runtime/clock.ts'
import { createLocalWake } from '../src/runtime/local-wake.ts'
import { createMemoryBlobs } from '../src/runtime/memory-blobs.ts'
import { postgresDialect } from '../src/runtime/postgres-dialect.ts'
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

/** A migrated database of its own on a real PostgreSQL, dropped when `use` has ended. */
export async function withDatabase(use: (database: BenchDatabase) => Promise<void>): Promise<void> {
  const name = `automatos_bench_${process.pid}`
  const admin = postgres(server, { max: 1, onnotice: () => {} })
  await admin.unsafe(`create database ${name}`)
  const url = new URL(server)
  url.pathname = `/${name}`
  const clients: postgres.Sql[] = []
  const databases: Kysely<Database>[] = []
  const another = () => {
    const client = postgres(url.href, { max: 10, onnotice: () => {} })
    clients.push(client)
    const pool = new PostgresPool({
      connect: (line) => postgres(url.href, { ...line, onnotice() {} } as object),
      max: 10,
    })
    const db = new Kysely<Database>({ dialect: postgresDialect(pool) })
    databases.push(db)
    return { client, db }
  }
  try {
    const { client, db } = another()
    await migrate(db)
    const workspaceId = uuidv7()
    await db.insertInto('workspaces').values({ id: workspaceId, slug: 'bench', name: 'Bench' }).execute()
    await use({ db, client, workspaceId, url: url.href, another })
  } finally {
    for (const db of databases) await db.destroy()
    for (const client of clients) await client.end({ timeout: 1 })
    await admin.unsafe(`drop database ${name} with (force)`)
    await admin.end()
  }
}

/** As much of a runtime as the engine and the schedules touch. */
export function runtimeOn(db: Kysely<Database>): Runtime {
  const log: Log = { debug() {}, info() {}, warn: console.warn, error: console.error, with: () => log }
  return { db, log, clock: systemClock, wake: createLocalWake(log), blobs: createMemoryBlobs() } as unknown as Runtime
}
