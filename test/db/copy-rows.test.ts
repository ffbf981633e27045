import { PGlite } from '@electric-sql/pglite'
import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { copyRows, nextBatch } from '../../src/db/copy-rows.ts'
import { migrate } from '../../src/db/migrate.ts'
import { hasMoveToken } from '../../src/db/move-token.ts'
import { pgliteScopes } from '../../src/runtime/node/pglite-dialect.ts'
import { databaseForTest } from '../support/database.ts'

const patience = { timeout: 120_000 }

test('a batch grows with small rows, shrinks with large ones, and always has one', () => {
  expect(nextBatch(8, 800)).toBe(16)
  expect(nextBatch(128, 12_800)).toBe(200)
  expect(nextBatch(200, 200_000_000)).toBe(8)
  expect(nextBatch(8, 8_000_000)).toBe(8)
  expect(nextBatch(1, 50_000_000)).toBe(1)
  expect(nextBatch(1, 10)).toBe(2)
})

test('large rows come a few at a time, each table behind those that it refers to', patience, async () => {
  const fetched = new Map<string, number[]>()
  let open: number[] = []
  const { login: source } = pgliteScopes(await PGlite.create(), {
    log({ query }) {
      const table = /^declare copied .* from "(\w+)"$/.exec(query.sql)?.[1]
      if (table) fetched.set(table, (open = []))
      const rows = /^fetch (\d+) from copied$/.exec(query.sql)?.[1]
      if (rows) open.push(Number(rows))
    },
  })
  await migrate(source)
  const workspace = crypto.randomUUID()
  await sql`insert into workspaces (id, slug, name) values (${workspace}::text::uuid, 'w', 'W')`.execute(source)
  await sql`insert into agents (id, workspace_id, slug, name, system_prompt)
    select gen_random_uuid(), ${workspace}::text::uuid, 'a' || n, 'A', repeat('x', 1500000)
    from generate_series(1, 11) n`.execute(source)
  const target = await databaseForTest()
  const counts = await copyRows(source, target.engine)
  expect([counts!.get('workspaces'), counts!.get('agents')]).toEqual([1, 11])
  // Its parent stands behind it in the alphabet, so it was put in its place by the references.
  const order = [...counts!.keys()]
  expect(order.indexOf('agents')).toBeGreaterThan(order.indexOf('workspaces'))
  // As many as may be at first; of those as long as these, 5 are 7.5 MB. The last finds nothing more.
  expect(fetched.get('agents')).toEqual([8, 5, 5])
  const { rows } = await sql<{ n: number; length: number }>`
    select count(*)::integer as n, min(length(system_prompt)) as length from agents`.execute(target.db)
  expect(rows).toEqual([{ n: 11, length: 1_500_000 }])
  await source.destroy()
})

test('the token is there with the rows, and neither where what comes before the commit fails', patience, async () => {
  const { login: source } = pgliteScopes(await PGlite.create())
  await migrate(source)
  await sql`insert into workspaces (id, slug, name) values (gen_random_uuid(), 'w', 'W')`.execute(source)
  const target = await databaseForTest()
  const token = crypto.randomUUID()
  const rows = async () => (await target.db.selectFrom('workspaces').select('slug').execute()).length
  const full = { token, beforeCommit: () => Promise.reject(new Error('The disk is full.')) }
  await expect(copyRows(source, target.engine, full)).rejects.toThrow('The disk is full.')
  expect([await hasMoveToken(target.db, token), await rows()]).toEqual([false, 0])
  await copyRows(source, target.engine, { token, beforeCommit: async () => {} })
  expect([await hasMoveToken(target.db, token), await rows()]).toEqual([true, 1])
  expect(await hasMoveToken(target.db, crypto.randomUUID())).toBe(false)
  await source.destroy()
})
