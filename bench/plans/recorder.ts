import { CompiledQuery, Kysely, type DatabaseConnection, type QueryResult } from 'kysely'
import postgres from 'postgres'
import type { Database } from '../../src/db/database.ts'
import { postgresDialect } from '../../src/runtime/postgres-dialect.ts'
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
    const dialect = postgresDialect(pool)
    this.db = new Kysely<Database>({
      dialect: {
        ...dialect,
        createDriver: () => {
          const driver = dialect.createDriver()
          const acquire = driver.acquireConnection.bind(driver)
          const seen = new WeakSet<DatabaseConnection>()
          driver.acquireConnection = async (options) => {
            const connection = await acquire(options)
            if (!seen.has(connection)) this.#listen(connection)
            seen.add(connection)
            return connection
          }
          return driver
        },
      },
    })
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

  #listen(connection: DatabaseConnection): void {
    const send = connection.executeQuery.bind(connection)
    const control = (text: string) => send(CompiledQuery.raw(text))
    let inTransaction = false
    connection.executeQuery = async <R>(query: CompiledQuery): Promise<QueryResult<R>> => {
      const verb = /^\s*(\w+)/.exec(query.sql)?.[1]?.toLowerCase()
      if (verb === 'begin') inTransaction = true
      if (verb === 'commit' || verb === 'rollback') inTransaction = false
      const recorded = this.#recorded
      if (recorded && ['select', 'insert', 'update', 'delete', 'with'].includes(verb!)) {
        await control(inTransaction ? 'savepoint explained' : 'begin')
        try {
          const first = await explain(query)
          await control(inTransaction ? 'rollback to savepoint explained' : 'rollback and chain')
          const again = await explain(query)
          await control(inTransaction ? 'rollback to savepoint explained' : 'rollback and chain')
          const text = await explainAsText(query)
          recorded.push({ statement: query.sql, first, again, text })
        } finally {
          await control(inTransaction ? 'rollback to savepoint explained' : 'rollback')
        }
      }
      return send<R>(query)
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
