import postgres from 'postgres'
import { expect, test } from 'vitest'
import { openDatabase, prepare, withEmptyDatabase } from '../../bench/database.ts'
import { fill } from '../../bench/plans/fill.ts'
import { rowsLookedAt } from '../../bench/plans/page.ts'
import { Recorder } from '../../bench/plans/recorder.ts'
import { hotStatements } from '../../bench/plans/statements.ts'

/** Enough that the planner takes the way that it takes with millions, where there is one. */
const runs = 40_000
/** A page of fifty, with what a filter on its way passes over. */
const most = 1_500

test('no hot statement reads in proportion to the executions there are', async () => {
  const costly: string[] = []
  await withEmptyDatabase('test', async (url) => {
    const schema = openDatabase(url, 1)
    await prepare(schema)
    await schema.destroy()
    const client = postgres(url, { max: 1, onnotice() {} })
    const filled = await fill(client, runs)
    await client.end()
    const recorder = new Recorder(url)
    try {
      for (const { group, name, call, sends, because } of hotStatements(recorder.db, filled)) {
        const recorded = await recorder.record(call, (statement) => sends === undefined || statement.includes(sends))
        expect(recorded, name).not.toHaveLength(0)
        const looked = Math.max(...recorded.map(rowsLookedAt))
        if (looked > most && !because) costly.push(`${group}, ${name}: ${looked} rows`)
      }
    } finally {
      await recorder.db.destroy()
    }
  })
  expect(costly).toEqual([])
}, 120_000)
