import { sql } from 'kysely'
import { afterAll, expect, test } from 'vitest'
import { uuidv7 } from '../../../src/lib/ids.ts'
import { reserve } from '../../../src/services/budgets/reserve.ts'
import { settle } from '../../../src/services/budgets/settle.ts'
import { createTestDatabase } from '../../support/database.ts'

const database = await createTestDatabase()
afterAll(() => database.close())
const { db, engine } = database

/** A workspace that may spend one dollar a day. */
async function aDollar() {
  const id = uuidv7()
  await db
    .insertInto('workspaces')
    .values({ id, slug: `w-${id}`, name: 'A workspace' })
    .execute()
  await sql`
    insert into budgets (id, workspace_id, level, scope_id, limit_usd, period, zone, thresholds, window_start, window_end)
    values (${uuidv7()}, ${id}, 0, ${id}, 1, 'day', 'UTC', '[]', app_now(), app_now() + interval '1 day')`.execute(db)
  const call = (amount: string, key: string = uuidv7()) => ({
    key,
    attempt: 1,
    workspaceId: id,
    scopes: [id],
    inner: 0,
    amount,
    lapsesAfterSeconds: 600,
  })
  const reserved = async () => {
    const { rows } = await sql<{ reserved: string }>`
      select trim_scale(reserved)::text as reserved from budgets where workspace_id = ${id}`.execute(db)
    return rows[0]!.reserved
  }
  return { call, reserved }
}

test('a call that asks again after a crash has what it had reserved, though that was all there was', async () => {
  const { call, reserved } = await aDollar()
  const last = call('1')
  expect(await reserve(engine, last)).toEqual({ kind: 'reserved' })
  expect(await reserve(engine, call('0.01'))).toMatchObject({ kind: 'refused', refusal: { reason: 'busy' } })
  expect(await reserve(engine, last)).toEqual({ kind: 'reserved' })
  expect(await reserved()).toBe('1')
})

test('a budget that is spent to the last cent lets no call through', async () => {
  const { call } = await aDollar()
  const all = call('1')
  await reserve(engine, all)
  await settle(engine, all, '1', false)
  expect(await reserve(engine, call('0.01'))).toMatchObject({ kind: 'refused', refusal: { reason: 'exceeded' } })
})
