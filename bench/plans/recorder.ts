import { CompiledQuery, type DatabaseConnection, type Driver, type Kysely, type QueryResult } from 'kysely'
import postgres from 'postgres'
import type { Database } from '../../src/db/database.ts'
import { openScopes } from '../../src/db/scope.ts'
import { accessOf, postgresDialect } from '../../src/runtime/postgres-dialect.ts'
import { PostgresPool } from '../../src/runtime/postgres-pool.ts'

/** A node of PostgreSQL's plan, as its JSON has it. */
export interface PlanNode {
  'Node Type': string
  'Relation Name'?: string
  'Index Name'?: string
  'Actual Rows': number
  'Actual Loops': number
  'Rows Removed by Filter'?: number
  'Rows Removed by Index Recheck'?: number
  'Shared Hit Blocks': number
  'Shared Read Blocks': number
  Plans?: PlanNode[]
}
export interface Explained {
  Plan: PlanNode
  'Execution Time': number
}
/** One statement of the product as it was sent. */
export interface Recorded {
  statement: string
  /** Just as it was met, and once more with its pages in memory. */
  first: Explained
  again: Explained
  text: string
}

/**
 * A database whose statements are explained before they are carried out, with the parameters that they are sent with and
 * within the transaction that they are part of. What explaining them changes is rolled back.
 */
export class Recorder {
  readonly db: Kysely<Database>
  #recorded: Recorded[] | null = null

  constructor(url: string) {
    const pool = new PostgresPool({ connect: (line) => postgres(url, { ...line, onnotice() {} } as object), max: 4 })
    // In the scopes in which they are sent: what the policies add is part of a plan.
    const { engine } = openScopes(
      (scope) => {
        const dialect = postgresDialect(pool, async () => {}, accessOf(scope))
        return { ...dialect, createDriver: () => this.#listening(dialect.createDriver()) }
      },
      { close: () => pool.close() },
    )
    this.db = engine
  }

  /** The statements that the work sends, but for those that the filter does not want. */
  async record(work: () => Promise<unknown>, wanted: (statement: string) => boolean): Promise<Recorded[]> {
    this.#recorded = []
    try {
      await work()
      return this.#recorded.filter(({ statement }) => wanted(statement))
    } finally {
      this.#recorded = null
    }
  }

  #listening(driver: Driver): Driver {
    const inTransaction = new WeakSet<DatabaseConnection>()
    const [acquire, begin] = [driver.acquireConnection.bind(driver), driver.beginTransaction.bind(driver)]
    driver.acquireConnection = async (options) => {
      const connection = await acquire(options)
      const alone = () => !inTransaction.has(connection)
      this.#listen(connection, {
        begin: async () => (alone() ? begin(connection, {}) : void (await control(connection, 'savepoint explained'))),
        undo: async () =>
          alone()
            ? driver.rollbackTransaction(connection)
            : void (await control(connection, 'rollback to savepoint explained')),
      })
      return connection
    }
    driver.beginTransaction = async (connection, settings) => {
      inTransaction.add(connection)
      await begin(connection, settings)
    }
    return driver
  }

  #listen(connection: DatabaseConnection, part: { begin(): Promise<void>; undo(): Promise<void> }): void {
    const send = connection.executeQuery.bind(connection)
    connection.executeQuery = async <R>(query: CompiledQuery): Promise<QueryResult<R>> => {
      const verb = /^\s*(\w+)/.exec(query.sql)?.[1]?.toLowerCase()
      const recorded = this.#recorded
      if (recorded && ['select', 'insert', 'update', 'delete', 'with'].includes(verb!)) {
        const first = await undone(() => explain(query))
        const again = await undone(() => explain(query))
        const text = await undone(() => explainAsText(query))
        recorded.push({ statement: query.sql, first, again, text })
      }
      return send<R>(query)
    }

    async function undone<T>(work: () => Promise<T>): Promise<T> {
      await part.begin()
      try {
        return await work()
      } finally {
        await part.undo()
      }
    }
    async function explain({ sql, parameters }: CompiledQuery): Promise<Explained> {
      const analyze = `explain (analyze, buffers, format json) ${sql}`
      const { rows } = await send<{ 'QUERY PLAN': Explained[] }>(CompiledQuery.raw(analyze, [...parameters]))
      return rows[0]!['QUERY PLAN'][0]!
    }
    async function explainAsText({ sql, parameters }: CompiledQuery): Promise<string> {
      const analyze = `explain (analyze, buffers, costs off) ${sql}`
      const { rows } = await send<{ 'QUERY PLAN': string }>(CompiledQuery.raw(analyze, [...parameters]))
      return rows.map((row) => row['QUERY PLAN']).join('\n')
    }
  }
}

const control = (connection: DatabaseConnection, text: string) => connection.executeQuery(CompiledQuery.raw(text))
