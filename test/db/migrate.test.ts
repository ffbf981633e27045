import { sql } from 'kysely'
import { expect, inject, test } from 'vitest'
import { migrate } from '../../src/db/migrate.ts'
import { migrations } from '../../src/db/migrations/index.ts'
import { migrationNames } from '../../src/db/migrations/names.ts'
import { pendingMigrations } from '../../src/db/pending-migrations.ts'
import { jsonb } from '../../src/db/json.ts'
import { databaseForTest } from '../support/database.ts'

test('a Worker asks for the names of all migrations, in their order', () => {
  expect(migrationNames).toEqual(migrations.map(({ name }) => name))
})

test('applying again changes nothing, and several at once apply each migration once', async () => {
  const { db } = await databaseForTest()
  const applied = await Promise.all([migrate(db), migrate(db), migrate(db)])
  expect(applied.flat()).toEqual([])
  expect(await pendingMigrations(db)).toEqual([])
})

test('a migration that fails leaves neither its statements nor the ones before it', async () => {
  const { db } = await databaseForTest()
  const list = [
    ...migrations,
    { name: '9998-good', statements: ['create table good_one (id int)'] },
    { name: '9999-bad', statements: ['create table bad_one (id int)', 'select no_such_function()'] },
  ]
  await expect(migrate(db, list)).rejects.toThrow()
  const { rows } = await sql<{ t: string | null }>`select to_regclass('good_one')::text as t`.execute(db)
  expect(rows[0]?.t).toBeNull()
  expect(
    await pendingMigrations(
      db,
      list.map(({ name }) => name),
    ),
  ).toEqual(['9998-good', '9999-bad'])
})

test('any string survives jsonb: NUL and lone surrogates are escaped, the rest is unchanged', async () => {
  const { db } = await databaseForTest()
  const value = { nul: 'a\u0000b', lone: 'x\ud800y', text: 'back\\slash \\u0000 "quote"', pair: '😀', bare: 'plain' }
  const { rows } = await sql<{ v: unknown }>`select ${jsonb(value)} as v`.execute(db)
  expect(rows[0]?.v).toEqual({ ...value, nul: 'a\\u0000b', lone: 'x\\ud800y' })
  const { rows: scalar } = await sql<{ v: unknown }>`select ${jsonb('just text')} as v`.execute(db)
  expect(scalar[0]?.v).toBe('just text')
})

// One connection cannot wait for another where there is only one.
test.runIf(inject('postgresUrl'))(
  'it goes on beside processes of the version before, and ends none of their statements',
  async () => {
    const orders = [
      ['memberships', 'workspaces'],
      ['workspaces', 'agents'],
      ['runs', 'run_events'],
      ['run_events', 'runs'],
    ] as const
    const { db } = await databaseForTest(migrations.filter(({ name }) => name < '0022'))
    const started: string[] = []
    let migrated: Promise<string[]> | undefined
    const isWaiting = async () =>
      (
        await sql`select from pg_locks where not granted and mode = 'AccessExclusiveLock'
        and database = (select oid from pg_database where datname = current_database())`.execute(db)
      ).rows.length > 0
    // Each holds one table when the migration comes, and goes on to another.
    const transactions = orders.map(([first, second]) =>
      db.transaction().execute(async (tx) => {
        await sql`lock table ${sql.table(first)} in row exclusive mode`.execute(tx)
        started.push(first)
        await expect.poll(async () => started.length === orders.length && migrated && isWaiting()).toBeTruthy()
        await sql`lock table ${sql.table(second)} in row exclusive mode`.execute(tx)
      }),
    )
    await expect.poll(() => started.length).toBe(orders.length)
    migrated = migrate(db)
    await Promise.all(transactions)
    expect(await migrated).toEqual(migrationNames.filter((name) => name >= '0022'))
  },
)
