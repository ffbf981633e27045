import {
  CompiledQuery,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  type TransactionSettings,
} from 'kysely'
import type { PostgresLine } from './postgres-line.ts'
import type { PostgresPool } from './postgres-pool.ts'

/** Kysely over a pool of ours; `close` ends the pool with the database. */
export function postgresDialect(pool: PostgresPool, close = () => pool.close()): Dialect {
  return {
    createDriver: () => driverOf(pool, close),
    createAdapter: () => new PostgresAdapter(),
    createQueryCompiler: () => new PostgresQueryCompiler(),
    createIntrospector: (db) => new PostgresIntrospector(db),
  }
}

function driverOf(pool: PostgresPool, close: () => Promise<void>): Driver {
  const send = (connection: DatabaseConnection, text: string) => connection.executeQuery(CompiledQuery.raw(text))
  return {
    init: async () => {},
    acquireConnection: () => pool.acquire(),
    async beginTransaction(connection, settings) {
      await send(connection, beginning(settings))
    },
    async commitTransaction(connection) {
      await send(connection, 'commit')
    },
    async rollbackTransaction(connection) {
      try {
        await send(connection, 'rollback')
      } catch (error) {
        // What it is in the middle of is not known; nobody else may go on from there.
        asLine(connection).lose(error)
        throw error
      }
    },
    async releaseConnection(connection) {
      pool.release(asLine(connection))
    },
    destroy: close,
  }
}

/** Safe: the driver is given back the connections that it handed out. */
const asLine = (connection: DatabaseConnection) => connection as PostgresLine

function beginning({ isolationLevel, accessMode }: TransactionSettings): string {
  const level = isolationLevel ? ` isolation level ${isolationLevel}` : ''
  return `begin${level}${accessMode ? ` ${accessMode}` : ''}`
}
