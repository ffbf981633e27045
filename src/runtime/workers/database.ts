import { Kysely } from 'kysely'
import { PostgresJSDialect } from 'kysely-postgres-js'
import postgres from 'postgres'
import type { Database } from '../../db/database.ts'

export interface RequestDatabase {
  db: Kysely<Database>
  close(): Promise<void>
}

/**
 * A client of one request, cron trigger or alarm: a Worker may not reuse a socket that another one opened. Hyperdrive
 * keeps the pool behind it. It connects with the first query, so an answer without one costs no connection.
 */
export function openRequestDatabase(hyperdrive: Pick<Hyperdrive, 'connectionString'>): RequestDatabase {
  // fetch_types stays on: without it a client that is first used through reserve() never connects.
  const client = postgres(hyperdrive.connectionString, {
    max: 5,
    connect_timeout: 10,
    onnotice: () => {},
    connection: { application_name: 'automatos-worker' },
  })
  return {
    db: new Kysely<Database>({ dialect: new PostgresJSDialect({ postgres: client }) }),
    // Once the answer has ended nothing is left to wait for but a query that nobody reads any more.
    close: () => client.end({ timeout: 5 }),
  }
}
