import { sql, type Transaction } from 'kysely'
import type { Wake } from '../../context.ts'
import type { Database } from '../../db/database.ts'

/** A service may join what has been joined already: then the savepoints are counted on. */
const known = new WeakSet<Transaction<Database>>()

type Work<T> = (tx: Transaction<Database>) => Promise<T>

/**
 * The transaction as a database for services that open transactions of their own: those become parts of it, each between
 * savepoints, so that one that fails leaves the rest as it was. What they write is committed with it or not at all.
 */
export function joined(tx: Transaction<Database>): Transaction<Database> {
  if (known.has(tx)) return tx
  known.add(tx)
  let count = 0
  const part = async <T>(work: Work<T>): Promise<T> => {
    const name = sql.raw(`part_${++count}`)
    await sql`savepoint ${name}`.execute(tx)
    try {
      const result = await work(tx)
      await sql`release savepoint ${name}`.execute(tx)
      return result
    } catch (error) {
      // Where even that fails the connection is gone, and the first error says why.
      await sql`rollback to savepoint ${name}`.execute(tx).catch(() => {})
      throw error
    }
  }
  Object.defineProperty(tx, 'transaction', { value: () => ({ execute: part }) })
  return tx
}

/** A wake that holds back what it is told until `release`: nobody may look before the commit. */
export function heldBack(wake: Wake): Wake & { release(): void } {
  const told: (() => void)[] = []
  return {
    runReady: (runId) => void told.push(() => wake.runReady(runId)),
    command: (runId) => void told.push(() => wake.command(runId)),
    events: (runId) => void told.push(() => wake.events(runId)),
    schedulesChanged: () => void told.push(() => wake.schedulesChanged()),
    listen: (listener) => wake.listen(listener),
    release: () => told.splice(0).forEach((tell) => tell()),
  }
}
