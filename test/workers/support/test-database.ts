import { env } from 'cloudflare:workers'
import { sql } from 'kysely'
import postgres from 'postgres'
import { migrate } from '../../../src/db/migrate.ts'
import { postgresScopes } from '../../../src/runtime/postgres-dialect.ts'
import { PostgresPool } from '../../../src/runtime/postgres-pool.ts'
import { DriverSocket } from '../../../src/runtime/workers/driver-socket.ts'
import type { TestDatabase } from '../../support/database.ts'

/**
 * Stands in for test/support/database.ts inside workerd, where there is neither PGlite nor a second server to choose: a
 * schema of its own in the database behind Hyperdrive.
 */
export async function createTestDatabase(): Promise<TestDatabase> {
  const { host, port, user, password, database } = env.HYPERDRIVE
  const schema = `test_${crypto.randomUUID().replaceAll('-', '')}`
  const options = {
    host,
    port,
    user,
    password,
    database,
    ssl: false,
    onnotice: () => {},
    socket: () => new DriverSocket(host, port),
    connection: { search_path: schema },
  }
  const pool = new PostgresPool({ connect: (line) => postgres({ ...options, ...line } as object), max: 4 })
  const { login: db, engine } = postgresScopes(pool)
  await sql`create schema ${sql.id(schema)}`.execute(db)
  await migrate(db)
  return {
    db,
    engine,
    async shiftClock({ seconds }) {
      await sql
        .raw(
          `create or replace function app_now() returns timestamptz language sql stable as
           'select statement_timestamp() + interval ''${seconds} seconds'''`,
        )
        .execute(db)
    },
    async close() {
      await sql`drop schema ${sql.id(schema)} cascade`.execute(db)
      await db.destroy()
    },
  }
}
