import { env } from 'cloudflare:workers'
import { Kysely, sql } from 'kysely'
import { PostgresJSDialect } from 'kysely-postgres-js'
import postgres from 'postgres'
import type { Database } from '../../../src/db/database.ts'
import { migrate } from '../../../src/db/migrate.ts'
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
    max: 4,
    onnotice: () => {},
    socket: () => new DriverSocket(host, port),
    connection: { search_path: schema },
  }
  const db = new Kysely<Database>({ dialect: new PostgresJSDialect({ postgres: postgres(options) }) })
  await sql`create schema ${sql.id(schema)}`.execute(db)
  await migrate(db)
  return {
    db,
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
