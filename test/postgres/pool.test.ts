import { Kysely, sql } from 'kysely'
import postgres from 'postgres'
import { afterAll, expect, onTestFinished, test } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { isUniqueViolation } from '../../src/db/unique-violation.ts'
import { DatabaseAway } from '../../src/lib/database-away.ts'
import { postgresDialect } from '../../src/runtime/postgres-dialect.ts'
import { PostgresPool } from '../../src/runtime/postgres-pool.ts'
import { createTestDatabase } from '../support/database.ts'
import { gate } from '../support/engine.ts'
import { openRelay } from '../support/relay.ts'

const database = await createTestDatabase()
afterAll(() => database.close())
await sql`create table marks (name text primary key)`.execute(database.db)
const marks = async () => {
  const { rows } = await sql<{ name: string }>`select name from marks order by name`.execute(database.db)
  return rows.map((row) => row.name)
}

async function open(max: number) {
  const relay = await openRelay(database.url!)
  const pool = new PostgresPool({ connect: (line) => postgres(relay.url, { ...line } as object), max })
  const db = new Kysely<Database>({ dialect: postgresDialect(pool, () => pool.close(2_000)) })
  onTestFinished(() => db.destroy())
  return { db, relay }
}
const ask = (db: Kysely<Database>) => sql<{ one: number }>`select 1 as one`.execute(db)

test('what comes after a lost connection in a transaction is refused, not committed by itself', async () => {
  const { db } = await open(2)
  const cutInTheMiddle = db.transaction().execute(async (tx) => {
    await sql`insert into marks values ('before')`.execute(tx)
    const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(tx)
    await sql`select pg_terminate_backend(${rows[0]!.pid}::integer, 5000)`.execute(database.db)
    // Until this process has heard of the end as well.
    await expect.poll(() => sql`select 1`.execute(tx).catch((error: unknown) => error)).toBeInstanceOf(DatabaseAway)
    await sql`insert into marks values ('after')`.execute(tx)
  })
  await expect(cutInTheMiddle).rejects.toBeInstanceOf(DatabaseAway)
  expect(await marks()).toEqual([])
  expect((await ask(db)).rows).toEqual([{ one: 1 }])
})

test('while nobody is let in, all are refused and told when to try again; then it is back by itself', async () => {
  const { db, relay } = await open(3)
  await Promise.all([1, 2, 3].map(() => ask(db)))
  const under = sql`select pg_sleep(30)`.execute(db)
  const lost = expect(under).rejects.toBeInstanceOf(DatabaseAway)
  await relay.cut()
  await lost
  const answers = await Promise.allSettled(Array.from({ length: 200 }, () => ask(db)))
  for (const answer of answers) {
    const { reason } = answer as PromiseRejectedResult
    expect(reason).toBeInstanceOf(DatabaseAway)
    expect(reason).toMatchObject({ kind: 'unavailable', headers: { 'retry-after': '2' } })
  }
  await relay.restore()
  await expect.poll(async () => (await ask(db)).rows, { timeout: 10_000, interval: 20 }).toEqual([{ one: 1 }])
  // With all of its connections, not with the one that found out.
  let inside = 0
  const together = gate()
  const meet = () =>
    db.transaction().execute(async (tx) => {
      await ask(tx)
      if (++inside === 3) together.open()
      await together.opened
    })
  await Promise.all([meet(), meet(), meet()])
})

test('callers beyond the connections wait their turn', async () => {
  const { db, relay } = await open(2)
  const answers = await Promise.all(Array.from({ length: 50 }, () => ask(db)))
  expect(answers).toHaveLength(50)
  expect(relay.connections).toBeLessThanOrEqual(2)
})

test("a fault of the statement is the statement's: the connection stays", async () => {
  const { db, relay } = await open(1)
  await sql`insert into marks values ('taken')`.execute(db)
  const again = await sql`insert into marks values ('taken')`.execute(db).catch((error: unknown) => error)
  expect(isUniqueViolation(again)).toBe(true)
  await expect(sql`selct 1`.execute(db)).rejects.toMatchObject({ code: '42601' })
  await expect(sql`select ${undefined}::text`.execute(db)).rejects.toMatchObject({ code: 'UNDEFINED_VALUE' })
  await ask(db)
  expect(relay.connections).toBe(1)
})

test('closing waits for what is in use, and then nothing more is let in', async () => {
  const { db } = await open(1)
  const begun = gate()
  const held = gate()
  const work = db.transaction().execute(async (tx) => {
    begun.open()
    await held.opened
    return (await ask(tx)).rows
  })
  await begun.opened
  const closed = db.destroy()
  held.open()
  expect(await work).toEqual([{ one: 1 }])
  await closed
  await expect(ask(db)).rejects.toThrow(/destroyed|closed/)
})
