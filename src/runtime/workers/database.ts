import type { Kysely } from 'kysely'
import postgres from 'postgres'
import type { Database } from '../../db/database.ts'
import { postgresScopes } from '../postgres-dialect.ts'
import { PostgresPool } from '../postgres-pool.ts'
import { DriverSocket } from './driver-socket.ts'

type HyperdriveAddress = Pick<Hyperdrive, 'host' | 'port' | 'user' | 'password' | 'database'>
/** An option that postgres.js reads and its types leave out. */
interface SocketOption {
  socket(): DriverSocket
}

export interface RequestDatabase {
  db: Kysely<Database>
  close(): Promise<void>
}

/**
 * A client of one request, cron trigger or alarm: a Worker may not reuse a socket that another one opened. Hyperdrive
 * keeps the pool behind it. It connects with the first query, so an answer without one costs no connection.
 */
export function openRequestDatabase(hyperdrive: HyperdriveAddress): RequestDatabase {
  const options: postgres.Options<Record<string, postgres.PostgresType>> & SocketOption = {
    host: hyperdrive.host,
    port: hyperdrive.port,
    user: hyperdrive.user,
    password: hyperdrive.password,
    database: hyperdrive.database,
    // The way to Hyperdrive never leaves the machine; it speaks TLS to the database by itself.
    ssl: false,
    socket: () => new DriverSocket(hyperdrive.host, hyperdrive.port),
    connect_timeout: 10,
    onnotice: () => {},
    connection: { application_name: 'automatos-worker' },
  }
  const pool = new PostgresPool({ connect: (line) => postgres({ ...options, ...line }), max: 5 })
  return {
    db: postgresScopes(pool, { pooled: true }).engine,
    // Once the answer has ended nothing is left to wait for but a query that nobody reads any more.
    close: () => pool.close(5_000),
  }
}
