import { randomUUID } from 'node:crypto'
import { PGlite } from '@electric-sql/pglite'
import { Kysely, PGliteDialect } from 'kysely'
import { PostgresJSDialect } from 'kysely-postgres-js'
import postgres from 'postgres'
import { serveEmbedded } from '../../../src/cli/dev/embedded-server.ts'
import type { Database } from '../../../src/db/database.ts'
import { migrate } from '../../../src/db/migrate.ts'

export interface WorkersDatabase {
  /** With a password, which Hyperdrive insists on. */
  url: string
  close(): Promise<void>
}

/** A new, migrated database that a Worker can connect to: on PostgreSQL where one runs, else PGlite on a socket. */
export async function openWorkersDatabase(): Promise<WorkersDatabase> {
  const base = process.env['TEST_POSTGRES_URL'] ?? 'postgres://postgres@127.0.0.1:5432/postgres'
  const admin = postgres(base, { max: 1, connect_timeout: 3, onnotice: () => {} })
  const reachable = await admin`select 1`.then(
    () => true,
    () => false,
  )
  if (!reachable) {
    await admin.end()
    return onPGlite()
  }
  const name = `automatos_workers_${randomUUID().replaceAll('-', '').slice(0, 12)}`
  await admin.unsafe(`create database ${name}`)
  const url = new URL(base)
  url.pathname = `/${name}`
  url.password ||= 'none'
  const db = new Kysely<Database>({
    dialect: new PostgresJSDialect({ postgres: postgres(url.href, { max: 1, onnotice: () => {} }) }),
  })
  await migrate(db)
  await db.destroy()
  return {
    url: url.href,
    async close() {
      await admin.unsafe(`drop database if exists ${name} with (force)`)
      await admin.end()
    },
  }
}

async function onPGlite(): Promise<WorkersDatabase> {
  const pglite = await PGlite.create()
  await migrate(new Kysely<Database>({ dialect: new PGliteDialect({ pglite }) }))
  const server = await serveEmbedded(pglite)
  return {
    url: `postgres://dev:dev@127.0.0.1:${server.port}/postgres`,
    async close() {
      await server.close()
      await pglite.close()
    },
  }
}
