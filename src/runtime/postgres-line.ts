import type { CompiledQuery, DatabaseConnection, QueryResult } from 'kysely'
import type postgres from 'postgres'
import { DatabaseAway } from '../lib/database-away.ts'

/** What a line sets on the postgres.js client that it uses for one connection; `onparameter` comes once it is let in. */
export interface LineOptions {
  max: 1
  idle_timeout: 0
  max_lifetime: null
  onparameter(): void
  onclose(): void
}
export type ConnectLine = (options: LineOptions) => postgres.Sql

interface LineEvents {
  connected(line: PostgresLine): void
  /** Once; `cause` is what ended it. */
  lost(line: PostgresLine, cause: unknown): void
}

/** The driver's own limit begins again with each attempt, and behind a proxy that hangs up it makes attempts for ever. */
const connectWithinMs = 15_000

/**
 * One connection to the server, opened by its first statement and never again: once lost it refuses. The driver alone
 * would reconnect in the middle of a transaction, or write to a socket that is gone and end the process.
 */
export class PostgresLine implements DatabaseConnection {
  readonly openedMs = performance.now()
  readonly #client: postgres.Sql
  readonly #events: LineEvents
  #connected = false
  #role: string | null = null
  #loss: { cause: unknown } | null = null

  constructor(connect: ConnectLine, events: LineEvents) {
    this.#events = events
    this.#client = connect({
      max: 1,
      idle_timeout: 0,
      max_lifetime: null,
      onparameter: () => this.#connect(),
      onclose: () => this.lose(new Error('The connection to the database was closed.')),
    })
  }

  get isConnected(): boolean {
    return this.#connected
  }
  /** The role that it took on for good. */
  get role(): string | null {
    return this.#role
  }
  get isLost(): boolean {
    return this.#loss !== null
  }

  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    const [result] = await this.#during(async () => [await this.#statement(query)])
    return toQueryResult(result!)
  }

  /**
   * Writes `before`, the statement and `after` to the wire together, so that all three cost the way of one. Each of the two
   * is one or several statements without parameters. The first that fails is what fails.
   */
  async executeBetween<R>(query: CompiledQuery, before: string, after?: string): Promise<QueryResult<R>> {
    const results = await this.#during(async () => {
      const statement = this.#statement(query)
      Object.defineProperty(statement, 'retried', refusesToRetry)
      const written = [
        this.#client.unsafe(before),
        statement,
        ...(after === undefined ? [] : [this.#client.unsafe(after)]),
      ]
      for (const each of written) each.execute()
      const ends = await Promise.allSettled(written)
      return ends.map((end) => {
        if (end.status === 'rejected') throw end.reason
        return end.value
      })
    })
    return toQueryResult(results[1]!)
  }

  /** Takes on a role for as long as the connection lasts. */
  async become(role: string): Promise<void> {
    await this.#during(async () => [await this.#client.unsafe(`set role ${role}`)])
    this.#role = role
  }

  #statement({ sql, parameters }: CompiledQuery): postgres.PendingQuery<postgres.Row[]> {
    return this.#client.unsafe(sql, [...parameters] as never[], { prepare: true, simple: false } as object)
  }

  async #during(work: () => Promise<Answer[]>): Promise<Answer[]> {
    if (this.#loss) throw new DatabaseAway(this.#loss.cause)
    const giveUp = this.#connected ? undefined : setTimeout(() => this.#giveUp(), connectWithinMs)
    try {
      const results = await work()
      this.#connect()
      return results
    } catch (error) {
      if (isLoss(error)) this.lose(error)
      else if (!isShort(error)) throw error
      throw new DatabaseAway(error)
    } finally {
      clearTimeout(giveUp)
    }
  }

  streamQuery(): never {
    throw new Error('Results are read as a whole.')
  }

  /** Refuses from now on, and lets go of the connection. */
  lose(cause: unknown): void {
    if (this.#loss) return
    this.#loss = { cause }
    void this.#client.end({ timeout: 0 }).catch(() => {})
    this.#events.lost(this, cause)
  }

  #connect(): void {
    if (this.#connected || this.#loss) return
    this.#connected = true
    this.#events.connected(this)
  }

  #giveUp(): void {
    if (!this.#connected) this.lose(new Error(`The database let nobody in within ${connectWithinMs / 1_000} s.`))
  }
}

type Answer = postgres.RowList<postgres.Row[]>

function toQueryResult<R>(result: Answer): QueryResult<R> {
  const { command, count } = result
  return {
    ...(changing.has(command) && { numAffectedRows: BigInt(count) }),
    rows: Array.from(result.values()) as R[],
  }
}

/**
 * The driver sends a statement again whose plan or preparation the server no longer accepts. By then the `after` behind it
 * has ended the transaction, and with it the rights of the statement: it has to fail instead. The driver notes the error
 * here before it begins anew, and passes over what was canceled.
 */
const refusesToRetry: PropertyDescriptor & ThisType<{ cancelled: unknown; reject(error: unknown): void }> = {
  get: () => undefined,
  set(error: unknown) {
    this.cancelled = error
    this.reject(error)
  },
}
/** Routines of the server whose errors the driver answers so. */
const passing = new Set(['FetchPreparedStatement', 'RevalidateCachedQuery', 'transformAssignedExpr'])

/** Whether the statement would do if it were sent once more: it was prepared for what has changed since. */
export const wasPreparedForAnother = (error: unknown): boolean =>
  passing.has((error as { routine?: string } | null)?.routine ?? '')

const changing = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE'])

/**
 * SQLSTATEs by which the server says that it does not serve (connection, authorization, too many connections, shutdown,
 * start-up, no such database, a standby after a failover).
 */
const unserved = /^(?:08...|28...|53300|57P0.|3D000|25006|25P03)$/
/** With these the server ends the session, whatever the code: memory that is short at the log-in, a transaction that took too long. */
const endsSession = new Set(['FATAL', 'PANIC'])
/** What the driver refuses to send. */
const unsendable = new Set(['UNDEFINED_VALUE', 'MAX_PARAMETERS_EXCEEDED', 'NOT_TAGGED_CALL', 'MESSAGE_NOT_SUPPORTED'])

type ServerError = { name?: string; code?: string; severity?: string }

function isLoss(error: unknown): boolean {
  if (error instanceof TypeError || error instanceof RangeError) return false
  const { name, code = '', severity = '' } = error as ServerError
  // Sockets and TLS fail in too many words to list them.
  return name === 'PostgresError' ? unserved.test(code) || endsSession.has(severity) : !unsendable.has(code)
}

/**
 * What the whole server is short of (room on its disk, memory, locks, or it does not say what), whatever the statement: callers
 * come back, as when it is away, and the connection goes on. 53400 is what the configuration gives one statement, which fails.
 */
const isShort = (error: unknown): boolean => /^53[012]00$/.test((error as ServerError | null)?.code ?? '')
