import {
  CompiledQuery,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  type QueryResult,
  type TransactionSettings,
} from 'kysely'
import { openScopes, roles, workspaceSetting, type Scope, type ScopeOptions, type Scopes } from '../db/scope.ts'
import { wasPreparedForAnother, type PostgresLine } from './postgres-line.ts'
import type { PostgresPool } from './postgres-pool.ts'

/** How a connection takes on a scope: a role for good, and what each transaction begins with. */
interface Access {
  role: string | null
  local: string
}
const asItIs: Access = { role: null, local: '' }

/**
 * Kysely over a pool of ours, in every scope. Behind a pooler (`pooled`) nothing outlives a transaction: whose the connection
 * is afterwards is not known. Otherwise the engine's connections carry its role, and its statements cost nothing more.
 */
export function postgresScopes(
  pool: PostgresPool,
  { pooled = false, ...options }: { pooled?: boolean } & Partial<ScopeOptions> = {},
): Scopes {
  const close = options.close ?? (() => pool.close())
  return openScopes((scope) => postgresDialect(pool, async () => {}, accessOf(scope, pooled)), { ...options, close })
}

export function accessOf(scope: Scope, pooled = false): Access {
  if (scope === 'login') return { role: null, local: 'set local role none' }
  if (scope !== 'engine') {
    const { workspaceId } = scope
    return { role: null, local: `set local role ${roles.app};set local ${workspaceSetting}='${workspaceId}'` }
  }
  return pooled ? { role: null, local: `set local role ${roles.engine}` } : { role: roles.engine, local: '' }
}

/** Kysely over a pool of ours; `close` ends the pool with the database. */
export function postgresDialect(pool: PostgresPool, close = () => pool.close(), access = asItIs): Dialect {
  return {
    createDriver: () => driverOf(pool, close, access),
    createAdapter: () => new PostgresAdapter(),
    createQueryCompiler: () => new PostgresQueryCompiler(),
    createIntrospector: (db) => new PostgresIntrospector(db),
  }
}

function driverOf(pool: PostgresPool, close: () => Promise<void>, access: Access): Driver {
  return {
    init: async () => {},
    acquireConnection: async () => new ScopedLine(await pool.acquire(), access),
    beginTransaction: async (connection, settings) => asScoped(connection).begin(settings),
    commitTransaction: (connection) => asScoped(connection).end('commit'),
    async rollbackTransaction(connection) {
      try {
        await asScoped(connection).end('rollback')
      } catch (error) {
        // What it is in the middle of is not known; nobody else may go on from there.
        asScoped(connection).line.lose(error)
        throw error
      }
    },
    releaseConnection: async (connection) => pool.release(asScoped(connection).line),
    destroy: close,
  }
}

/** Safe: the driver is given back the connections that it handed out. */
const asScoped = (connection: DatabaseConnection) => connection as ScopedLine

/**
 * A connection for as long as somebody has it. `begin`, role and workspace go out with the first statement of a transaction,
 * so they cost no way of their own.
 */
class ScopedLine implements DatabaseConnection {
  readonly line: PostgresLine
  readonly #access: Access
  #transaction: 'none' | 'open' | { begin: string } = 'none'

  constructor(line: PostgresLine, access: Access) {
    this.line = line
    this.#access = access
  }

  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    const { role, local } = this.#access
    if (role !== null && this.line.role !== role) await this.line.become(role)
    if (typeof this.#transaction === 'object') {
      const { begin } = this.#transaction
      this.#transaction = 'open'
      return this.line.executeBetween(query, begin)
    }
    return local === '' || this.#transaction === 'open' ? this.line.executeQuery(query) : this.#alone(query, local)
  }

  /** What would be a transaction of its own anyway becomes one in its scope. */
  async #alone<R>(query: CompiledQuery, local: string): Promise<QueryResult<R>> {
    const send = () => this.line.executeBetween<R>(query, `begin;${local}`, 'commit')
    try {
      return await send()
    } catch (error) {
      if (!wasPreparedForAnother(error)) throw error
      return send()
    }
  }

  streamQuery(): never {
    throw new Error('Results are read as a whole.')
  }

  begin({ isolationLevel, accessMode }: TransactionSettings): void {
    const level = isolationLevel ? ` isolation level ${isolationLevel}` : ''
    const mode = accessMode ? ` ${accessMode}` : ''
    this.#transaction = { begin: `begin${level}${mode};${this.#access.local}` }
  }

  async end(how: 'commit' | 'rollback'): Promise<void> {
    const begun = this.#transaction === 'open'
    this.#transaction = 'none'
    if (begun) await this.line.executeQuery(CompiledQuery.raw(how))
  }
}
