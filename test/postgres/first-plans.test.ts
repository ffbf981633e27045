import postgres from 'postgres'
import { expect, onTestFinished, test } from 'vitest'
import { postgresScopes } from '../../src/runtime/postgres-dialect.ts'
import { PostgresPool } from '../../src/runtime/postgres-pool.ts'
import { recoverRuns, wakeDueRuns } from '../../src/services/runs/claim.ts'
import { requestCancel } from '../../src/services/runs/commands.ts'
import { createTestDatabase } from '../support/database.ts'
import { createEngineBench, gate, http, recipe } from '../support/engine.ts'

// PostgreSQL keeps the plan of a prepared statement until somebody analyzes its tables. A process that started on an empty
// database would read all runs at every checkpoint, and more slowly from hour to hour.
const growing = ['runs', 'run_steps', 'run_calls', 'run_events', 'run_queue', 'waits', 'model_usage']

test('a plan that the engine made while there was nothing reads no whole table when there is much', async () => {
  const statements = await whatTheEngineSends()
  expect(statements.length).toBeGreaterThan(10)

  const empty = await createTestDatabase()
  onTestFinished(() => empty.close())
  const client = postgres(empty.url!, { max: 1, onnotice() {} })
  onTestFinished(() => client.end())
  await client`set plan_cache_mode = force_generic_plan`
  const offences: string[] = []
  for (const text of statements) {
    await client.unsafe(`prepare kept as ${text}`)
    const parameters = new Set([...text.matchAll(/\$(\d+)/g)].map(([, n]) => n)).size
    const values = parameters === 0 ? '' : `(${Array.from({ length: parameters }, () => 'null').join(', ')})`
    for (const line of await client.unsafe(`explain execute kept${values}`)) {
      const table = /Seq Scan on (\w+)/.exec(line['QUERY PLAN'])?.[1]
      if (table && growing.includes(table)) offences.push(`${table}, in ${text.replace(/\s+/g, ' ').trim()}`)
    }
    await client`deallocate kept`
  }
  expect(offences).toEqual([])
})

/** The life of a few runs: claimed, parked, woken, canceled, taken over, ended. */
async function whatTheEngineSends(): Promise<string[]> {
  const database = await createTestDatabase()
  onTestFinished(() => database.close())
  const sent = new Set<string>()
  const pool = new PostgresPool({ connect: (line) => postgres(database.url!, { ...line } as object), max: 4 })
  const { engine: db } = postgresScopes(pool, { log: ({ query }) => void sent.add(query.sql) })
  onTestFinished(() => db.destroy())
  const bench = await createEngineBench(database)
  const worker = bench.worker('a', { db })
  const waits = recipe([http('a'), { id: 'pause', kind: 'wait', duration: '1h' }, http('b')])
  const ids = [await bench.start(waits), await bench.start(waits)]
  await worker.claim()
  await worker.idle()
  await database.shiftClock({ seconds: 3601 })
  await wakeDueRuns(db, 10)
  const open = gate()
  bench.script('b', () => open.opened.then(() => ({})))
  await worker.claim()
  await worker.renew()
  await db.transaction().execute((tx) => requestCancel(tx, ids[0]!, 'enough'))
  await worker.pollInbox()
  open.open()
  await worker.idle()
  await recoverRuns(db, 10)
  return [...sent].filter((text) => /^\s*(select|insert|update|delete|with)\b/i.test(text))
}
