import { sql } from 'kysely'
import { expect, test } from 'vitest'
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
