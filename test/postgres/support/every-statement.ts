import type { Kysely } from 'kysely'
import { expect } from 'vitest'
import type { Database } from '../../../src/db/database.ts'
import { DatabaseAway } from '../../../src/lib/database-away.ts'
import { FaultyLine, type AnyFaultKind } from '../../support/faulty-database.ts'

/**
 * What a worker can meet at a statement of its own: the server refuses it, or its connection is lost behind it, a commit
 * among them, or the worker itself is. Before a statement the rows are as they were behind the one before.
 */
export const metAt = ['failed', 'unacknowledged', 'cut-after'] as const satisfies readonly AnyFaultKind[]

/**
 * Has a story told once for every statement that its worker sends, with a fault of this kind there; the story judges how it
 * has ended. Answers how many statements there were. Losses that leave the same rows as another are met once: behind what
 * only reads nothing has changed, and the server rolls a transaction back wherever it breaks off before its commit.
 */
export async function atEveryStatement(
  db: Kysely<Database>,
  kind: (typeof metAt)[number],
  story: (line: FaultyLine) => Promise<void>,
): Promise<number> {
  const tell = async (fault: { at: number; kind: AnyFaultKind } | null) => {
    const line = new FaultyLine(db, fault)
    line.lost = (cause) => new DatabaseAway(cause)
    try {
      await story(line)
    } catch (error) {
      const where = fault ? `Statement ${fault.at} ${kind}: ${line.struck?.slice(0, 300)}` : 'Undisturbed'
      throw new Error(where, { cause: error })
    }
    return line
  }
  const { statements, places } = await tell(null)
  const isAsAnother = (n: number) => (places[n] ?? 0) > 0 || /^\s*select\b/.test(statements[n] ?? '')
  for (let at = 1; ; at++) {
    if (kind !== 'failed' && isAsAnother(at - 1)) continue
    if ((await tell({ at, kind })).struck === null) return at - 1
    expect(at).toBeLessThan(200)
  }
}

/** Does some work on a line. False: it has failed, as a tick does that comes again, or the line was cut in the middle. */
export const onLine = (line: FaultyLine, work: () => Promise<unknown>): Promise<boolean> =>
  Promise.race([
    work().then(
      () => true,
      () => false,
    ),
    line.cut.then(() => false),
  ])

/** Whether the line has been cut by now. */
export async function isCut(line: FaultyLine): Promise<boolean> {
  return Promise.race([line.cut.then(() => true), new Promise<false>((resolve) => setImmediate(() => resolve(false)))])
}
