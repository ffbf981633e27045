import { readFile } from 'node:fs/promises'
import { sql, type Kysely } from 'kysely'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { retentionFields } from '../../src/services/retention/policy.ts'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { listTables } from '../support/every-table.ts'
import { whatGoes } from '../support/what-goes.ts'

let database: TestDatabase
let db: Kysely<Database>
beforeAll(async () => {
  database = await createTestDatabase()
  db = database.db
})
afterAll(() => database.close())

const reasons = Object.entries(whatGoes)
const sourceOf = (path: string) => readFile(new URL(`../../src/services/${path}`, import.meta.url), 'utf8')

// A new table is added to `whatGoes`: what removes its rows is decided before there are any.
test('of every table it is said what removes its rows', async () => {
  const names = (await listTables(db)).map(({ name }) => name)
  expect(Object.keys(whatGoes).toSorted()).toEqual(names.toSorted())
})

test('what goes with another is taken along by a foreign key or a trigger of that', async () => {
  const { rows } = await sql<{ child: string; parent: string }>`
    select conrelid::regclass::text as child, confrelid::regclass::text as parent from pg_constraint
    where contype = 'f' and confdeltype = 'c' and connamespace = current_schema()::regnamespace
    union all
    select t.found[1], g.tgrelid::regclass::text
    from pg_trigger g join pg_proc f on f.oid = g.tgfoid
    cross join lateral regexp_matches(f.prosrc, 'delete from (\\w+)', 'g') as t(found)
    where not g.tgisinternal`.execute(db)
  const known = new Set(rows.map(({ child, parent }) => `${child} with ${parent}`))
  const said = reasons.flatMap(([table, reason]) => ('with' in reason ? [`${table} with ${reason.with}`] : []))
  expect(said.filter((each) => !known.has(each))).toEqual([])
})

test('what retention or another service removes is named in its source', async () => {
  for (const [table, reason] of reasons) {
    const path = 'by' in reason ? reason.by : 'after' in reason ? reason.in : null
    if (path === null) continue
    const deletes = new RegExp(`delete from ${table}\\b|deleteFrom\\('${table}'\\)|deleted\\(\\s*'${table}'`)
    expect(await sourceOf(path), `${path} does not delete from ${table}`).toMatch(deletes)
    if ('after' in reason) expect(retentionFields).toContain(reason.after)
  }
})
