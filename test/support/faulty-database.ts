import {
  CompiledQuery,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type ControlledTransaction,
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
/** And what the server says of the statement alone (`failed`), on a connection that goes on. */
export type AnyFaultKind = FaultKind | 'failed'

/**
 * One worker's line to a database that others reach undisturbed. A transaction is its statements and its commit; when its
 * connection is lost in the middle, by a fault or with the worker, the server rolls it back.
 */
export class FaultyLine {
  readonly db: Kysely<Database>
  /** What was sent, in order. */
  readonly statements: string[] = []
  /** Of each, its place in its transaction, from zero; null: it is one of its own, or the commit. */
  readonly places: (number | null)[] = []
  /** Statements that the database does not carry out now, as when their rows stay locked. */
  refuses: (query: CompiledQuery) => boolean = () => false
  /** Statements that vanish on the way, with nobody to tell of it. */
  swallows: (query: CompiledQuery) => boolean = () => false
  /** What a lost connection is to the worker. */
  lost: (cause: Error) => Error = (cause) => cause
  /** The statement that met the fault; null as long as none has. */
  struck: string | null = null
  readonly #inner: Kysely<Database>
  readonly #fault: { at: number; kind: AnyFaultKind } | null
  readonly #cut = gate()
  readonly #open = new Set<ControlledTransaction<Database>>()
  #isCut = false

  /** `at` counts from one. Without a fault the line works, and counts. */
  constructor(inner: Kysely<Database>, fault: { at: number; kind: AnyFaultKind } | null) {
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
    // The server ends the sessions of the dead before anybody is told, so that nobody meets their locks.
    const open = [...this.#open]
    this.#open.clear()
    void Promise.all(
      open.map((tx) =>
        tx
          .rollback()
          .execute()
          .catch(() => {}),
      ),
    ).then(() => this.#cut.open())
  }

  execute<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    return this.#meet(query, null, () => this.#inner.executeQuery<R>(query))
  }

  async #meet<R>(query: CompiledQuery, place: number | null, carryOut: () => Promise<R>): Promise<R> {
    if (this.#isCut || this.swallows(query)) return never()
    this.statements.push(query.sql)
    this.places.push(place)
    if (this.refuses(query)) throw lineError('canceling statement due to lock timeout', '55P03')
    const fault = this.#fault
    if (fault === null || this.statements.length !== fault.at) {
      const answer = await carryOut()
      // Of a statement that was on its way beside the last, nobody hears.
      return this.#isCut ? never() : answer
    }
    this.struck = query.sql
    if (fault.kind === 'cut-before') {
      this.cutNow()
      return never()
    }
    if (fault.kind === 'failed') throw lineError('canceling statement due to lock timeout', '55P03')
    if (fault.kind === 'refused') throw this.lost(lineError('connect ECONNREFUSED', 'ECONNREFUSED'))
    if (fault.kind === 'cut-after') {
      // Whatever is sent beside it is lost; the statement itself still arrives.
      this.#isCut = true
      await carryOut()
      this.cutNow()
      return never()
    }
    await carryOut()
    throw this.lost(lineError('write CONNECTION_CLOSED', 'CONNECTION_CLOSED'))
  }

  #dialect(): Dialect {
    const driver: Driver = {
      init: async () => {},
      acquireConnection: async () => new FaultyConnection(this),
      beginTransaction: async (connection) => {
        asFaulty(connection).tx = await this.#begin()
      },
      commitTransaction: (connection) => this.#commit(asFaulty(connection)),
      rollbackTransaction: async (connection) => {
        const { tx } = asFaulty(connection)
        asFaulty(connection).tx = null
        if (tx && this.#open.delete(tx)) await tx.rollback().execute()
      },
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

  async #begin(): Promise<ControlledTransaction<Database>> {
    const tx = await this.#inner.startTransaction().execute()
    this.#open.add(tx)
    return tx
  }

  within<R>(tx: ControlledTransaction<Database>, place: number, query: CompiledQuery): Promise<QueryResult<R>> {
    return this.#meet(query, place, () => tx.executeQuery<R>(query))
  }

  async #commit(connection: FaultyConnection): Promise<void> {
    const { tx } = connection
    if (!tx) return
    // Whoever loses the connection before it has committed has rolled back; behind it there is nothing to roll back.
    await this.#meet(CompiledQuery.raw('commit'), null, async () => {
      this.#open.delete(tx)
      connection.tx = null
      await tx.commit().execute()
    })
  }
}

class FaultyConnection implements DatabaseConnection {
  tx: ControlledTransaction<Database> | null = null
  #sent = 0
  readonly #line: FaultyLine

  constructor(line: FaultyLine) {
    this.#line = line
  }

  executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    return this.tx ? this.#line.within(this.tx, this.#sent++, query) : this.#line.execute(query)
  }

  streamQuery(): never {
    throw new Error('Results are read as a whole.')
  }
}

/** Safe: the driver is given back the connections that it handed out. */
const asFaulty = (connection: DatabaseConnection) => connection as FaultyConnection

const never = <T>() => new Promise<T>(() => {})
const lineError = (message: string, code: string) => Object.assign(new Error(message), { code })
