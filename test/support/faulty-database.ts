import {
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  type Kysely,
  type QueryResult,
} from 'kysely'
import type { Database } from '../../src/db/database.ts'
import { openScopes } from '../../src/db/scope.ts'
import { gate } from './engine.ts'

/**
 * What happens to a statement: it never reaches the database (`refused`); it is carried out and its answer is lost with
 * the connection (`unacknowledged`); or the worker is cut off for ever, as by SIGKILL or a partition, before the
 * statement is carried out (`cut-before`) or after (`cut-after`).
 */
export const faultKinds = ['refused', 'unacknowledged', 'cut-before', 'cut-after'] as const
export type FaultKind = (typeof faultKinds)[number]

/** One worker's line to a database that others reach undisturbed. It speaks in single statements, as the engine does. */
export class FaultyLine {
  readonly db: Kysely<Database>
  /** What was sent, in order. */
  readonly statements: string[] = []
  /** Statements that the database does not carry out now, as when their rows stay locked. */
  refuses: (query: CompiledQuery) => boolean = () => false
  /** Statements that vanish on the way, with nobody to tell of it. */
  swallows: (query: CompiledQuery) => boolean = () => false
  /** The statement that met the fault; null as long as none has. */
  struck: string | null = null
  readonly #inner: Kysely<Database>
  readonly #fault: { at: number; kind: FaultKind } | null
  readonly #cut = gate()
  #isCut = false

  /** `at` counts from one. Without a fault the line works, and counts. */
  constructor(inner: Kysely<Database>, fault: { at: number; kind: FaultKind } | null) {
    this.#inner = inner
    this.#fault = fault
    this.db = openScopes(() => this.#dialect(), { close: async () => {} }).engine
  }

  /** Resolves when the line is cut. */
  get cut(): Promise<void> {
    return this.#cut.opened
  }

  /** From now on nothing gets through. */
  cutNow(): void {
    this.#isCut = true
    this.#cut.open()
  }

  async execute<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    if (this.#isCut || this.swallows(query)) return never()
    this.statements.push(query.sql)
    if (this.refuses(query)) throw lineError('canceling statement due to lock timeout', '55P03')
    const fault = this.#fault
    if (fault === null || this.statements.length !== fault.at) return this.#inner.executeQuery<R>(query)
    this.struck = query.sql
    if (fault.kind === 'cut-before') {
      this.cutNow()
      return never()
    }
    if (fault.kind === 'refused') throw lineError('connect ECONNREFUSED', 'ECONNREFUSED')
    if (fault.kind === 'cut-after') {
      // Whatever is sent beside it is lost; the statement itself still arrives.
      this.#isCut = true
      await this.#inner.executeQuery<R>(query)
      this.cutNow()
      return never()
    }
    await this.#inner.executeQuery<R>(query)
    throw lineError('write CONNECTION_CLOSED', 'CONNECTION_CLOSED')
  }

  #dialect(): Dialect {
    const connection: DatabaseConnection = {
      executeQuery: (query) => this.execute(query),
      streamQuery: () => {
        throw new Error('The engine streams no queries.')
      },
    }
    const noTransactions = () => Promise.reject(new Error('The engine speaks in single statements.'))
    const driver: Driver = {
      init: async () => {},
      acquireConnection: async () => connection,
      beginTransaction: noTransactions,
      commitTransaction: noTransactions,
      rollbackTransaction: noTransactions,
      releaseConnection: async () => {},
      destroy: async () => {},
    }
    return {
      createDriver: () => driver,
      createAdapter: () => new PostgresAdapter(),
      createQueryCompiler: () => new PostgresQueryCompiler(),
      createIntrospector: (db) => new PostgresIntrospector(db),
    }
  }
}

const never = <T>() => new Promise<T>(() => {})
const lineError = (message: string, code: string) => Object.assign(new Error(message), { code })
