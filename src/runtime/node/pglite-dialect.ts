import type { PGlite } from '@electric-sql/pglite'
import {
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type QueryResult,
  type TransactionSettings,
} from 'kysely'
import { openScopes, roles, workspaceSetting, type Scope, type ScopeOptions, type Scopes } from '../../db/scope.ts'

/** Kysely over the one connection that PGlite is, in every scope. Its user is a superuser, whom no policy holds. */
export function pgliteScopes(pglite: PGlite, options: Pick<ScopeOptions, 'log'> = {}): Scopes {
  const connection = new SharedConnection(pglite)
  const close = async () => {
    if (!pglite.closed) await pglite.close()
  }
  return openScopes((scope) => dialectOf(connection, scope), { ...options, close })
}

function dialectOf(connection: SharedConnection, scope: Scope): Dialect {
  const as = asStatement(scope)
  const send = (text: string) => connection.exec(text)
  return {
    createDriver: () => ({
      init: () => connection.opened(),
      acquireConnection: () => connection.take(as),
      beginTransaction: (_, settings) => send(beginning(settings)),
      commitTransaction: () => send('commit'),
      rollbackTransaction: () => send('rollback'),
      releaseConnection: async () => connection.pass(),
      destroy: async () => {},
    }),
    createAdapter: () => new PostgresAdapter(),
    createQueryCompiler: () => new PostgresQueryCompiler(),
    createIntrospector: (db) => new PostgresIntrospector(db),
  }
}

function asStatement(scope: Scope): string {
  if (scope === 'login') return 'set role none'
  if (scope === 'engine') return `set role ${roles.engine}`
  return `set role ${roles.app};set ${workspaceSetting}='${scope.workspaceId}'`
}

function beginning({ isolationLevel, accessMode }: TransactionSettings): string {
  const level = isolationLevel ? ` isolation level ${isolationLevel}` : ''
  return `begin${level}${accessMode ? ` ${accessMode}` : ''}`
}

/** One user at a time, in the order in which they came. The scope is the session's, and set where the last user's was another. */
class SharedConnection {
  readonly #pglite: PGlite
  readonly #waiting: (() => void)[] = []
  #taken = false
  /** What made the scope that the session is in; null where that is not known. */
  #scope: string | null = 'set role none'

  constructor(pglite: PGlite) {
    this.#pglite = pglite
  }

  opened(): Promise<void> {
    return this.#pglite.waitReady
  }

  async take(scope: string): Promise<DatabaseConnection> {
    if (this.#taken) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    this.#taken = true
    if (this.#scope !== scope) {
      this.#scope = null
      try {
        await this.exec(scope)
      } catch (error) {
        this.pass()
        throw error
      }
      this.#scope = scope
    }
    return new Line(this.#pglite)
  }

  /** Hands it on. Whoever is next finds it taken, by himself. */
  pass(): void {
    const next = this.#waiting.shift()
    if (next) next()
    else this.#taken = false
  }

  async exec(text: string): Promise<void> {
    await this.#pglite.exec(text)
  }
}

/** A new one for each user: Kysely changes what it is given where statements are logged. */
class Line implements DatabaseConnection {
  readonly #pglite: PGlite

  constructor(pglite: PGlite) {
    this.#pglite = pglite
  }

  async executeQuery<R>({ sql, parameters }: CompiledQuery): Promise<QueryResult<R>> {
    const { rows, affectedRows } = await this.#pglite.query<R>(sql, [...parameters])
    return { rows, ...(affectedRows !== undefined && { numAffectedRows: BigInt(affectedRows) }) }
  }

  streamQuery(): never {
    throw new Error('Results are read as a whole.')
  }
}
