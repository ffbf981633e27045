import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import postgres from 'postgres'
import { openDatabase, prepare, withEmptyDatabase } from './database.ts'
import { fill } from './plans/fill.ts'
import { concernsTables, page, rowsLookedAt, type Measured } from './plans/page.ts'
import { Recorder } from './plans/recorder.ts'
import { hotStatements } from './plans/statements.ts'

// The plans of the hot statements on a database with many runs, as PostgreSQL carries them out. Ten million runs take
// some minutes to load and 15 GB. Writes docs/query-plans.md, or with a second argument that file.
// Usage: node bench/plans.ts [runs] [file]
const runs = Number(process.argv[2] ?? 10_000_000)
const file = process.argv[3] ?? join(import.meta.dirname, '../docs/query-plans.md')

await withEmptyDatabase('plans', async (url) => {
  const schema = openDatabase(url, 1)
  await prepare(schema)
  await schema.destroy()
  const client = postgres(url, { max: 1, onnotice() {} })
  const startMs = performance.now()
  const filled = await fill(client, runs)
  console.log(`${filled.megabytes} MB in ${Math.round((performance.now() - startMs) / 1000)} s`)
  const [version] = await client`select 'PostgreSQL ' || current_setting('server_version') ||
    ' with shared_buffers ' || current_setting('shared_buffers') as server`
  await client.end()

  const recorder = new Recorder(url)
  const measured: Measured[] = []
  for (const { group, name, call, sends, because } of hotStatements(recorder.db, filled)) {
    const recorded = await recorder.record(call, (statement) => sends === undefined || statement.includes(sends))
    if (recorded.length === 0) throw new Error(`${name}: nothing was sent that has ${sends}.`)
    // Of several of one form, such as one a run, the costliest.
    const costliest = new Map(
      recorded
        .filter(concernsTables)
        .toSorted((a, b) => rowsLookedAt(a) - rowsLookedAt(b))
        .map((each): [string, typeof each] => [each.statement, each]),
    )
    let part = 0
    for (const each of costliest.values()) {
      const label = costliest.size > 1 ? `${name} (${++part})` : name
      measured.push({ group, name: label, because: part <= 1 ? because : undefined, recorded: each })
      const took = each.first['Execution Time'].toFixed(2)
      console.log(`${group}: ${label}: ${rowsLookedAt(each)} rows looked at, ${took} ms`)
    }
  }
  await recorder.db.destroy()
  writeFileSync(file, page(filled, measured, version!['server']))
})
