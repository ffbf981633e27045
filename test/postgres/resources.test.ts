import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { Kysely, sql } from 'kysely'
import postgres from 'postgres'
import { afterAll, describe, expect, onTestFinished, test } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { DatabaseAway } from '../../src/lib/database-away.ts'
import { postgresDialect } from '../../src/runtime/postgres-dialect.ts'
import { PostgresPool } from '../../src/runtime/postgres-pool.ts'
import { createTestDatabase } from '../support/database.ts'

// What the server says when it is short of something (class 53), and what becomes of the statement and of its connection.

const database = await createTestDatabase()
afterAll(() => database.close())

/** One connection, and how often it was opened. */
function open(url = database.url!) {
  let opened = 0
  const pool = new PostgresPool({
    connect: (line) => {
      opened++
      return postgres(url, { ...line, onnotice() {} } as object)
    },
    max: 1,
  })
  const db = new Kysely<Database>({ dialect: postgresDialect(pool, () => pool.close(2_000)) })
  onTestFinished(() => db.destroy())
  return { db, opened: () => opened }
}

const failing = (db: Kysely<Database>, statement: string) =>
  sql
    .raw(statement)
    .execute(db)
    .then(
      () => null,
      (error: unknown) => error,
    )
const raising = (code: string) => `do $$ begin raise exception 'short' using errcode = '${code}'; end $$`

describe('a server that is short of', () => {
  test('what it was configured to give one statement (53400) fails that statement, in its own words, and nothing else', async () => {
    const { db, opened } = open()
    const error = await failing(db, raising('53400'))
    expect(error).not.toBeInstanceOf(DatabaseAway)
    expect(error).toMatchObject({ code: '53400' })
    expect((await sql<{ one: number }>`select 1 as one`.execute(db)).rows).toEqual([{ one: 1 }])
    expect(opened()).toBe(1)
  })

  test('room for temporary files fails the statement that needs them', async () => {
    const { db } = open()
    await sql`set temp_file_limit = '64kB'`.execute(db)
    await sql`set work_mem = '64kB'`.execute(db)
    const sorting = `select n from generate_series(1, 100000) n order by md5(n::text)`
    expect(await failing(db, sorting)).toMatchObject({ code: '53400' })
  })

  test.each([
    ['room on its disk', '53100'],
    ['memory or locks', '53200'],
    ['something that it does not name', '53000'],
  ])('%s (%s) is away for whose statement met it, on a connection that goes on', async (_, code) => {
    const { db, opened } = open()
    const refused = await failing(db, raising(code))
    expect(refused).toBeInstanceOf(DatabaseAway)
    expect((refused as Error).cause).toMatchObject({ code })
    const written = db.transaction().execute(async (tx) => {
      await sql`create temporary table written (n integer)`.execute(tx)
      await sql.raw(raising(code)).execute(tx)
    })
    await expect(written).rejects.toBeInstanceOf(DatabaseAway)
    expect(
      (await sql<{ there: boolean }>`select to_regclass('written') is not null as there`.execute(db)).rows,
    ).toEqual([{ there: false }])
    expect(opened()).toBe(1)
  })

  test('connections (53300) is away, and lets in again once there are some', async () => {
    const role = `crowded_${crypto.randomUUID().slice(0, 8)}`
    const limit = (connections: number) =>
      sql.raw(`alter role ${role} connection limit ${connections}`).execute(database.db)
    await sql.raw(`create role ${role} login password '${role}' connection limit 0`).execute(database.db)
    onTestFinished(async () => void (await sql.raw(`drop role ${role}`).execute(database.db)))
    const { db } = open(Object.assign(new URL(database.url!), { username: role, password: role }).href)
    const refused = await failing(db, 'select 1')
    expect(refused).toBeInstanceOf(DatabaseAway)
    expect((refused as Error).cause).toMatchObject({ code: '53300' })
    await limit(1)
    await expect.poll(() => failing(db, 'select 1')).toBeNull()
  })
})

test('what ends the session is away, whatever it was short of', async () => {
  // A server that has no memory for one more session says so in its first message, and hangs up.
  const crowded = createServer((client) => {
    client.once('data', () => {
      const fields = 'SFATAL\0VFATAL\0C53200\0Mout of memory\0\0'
      const head = Buffer.alloc(5)
      head.write('E')
      head.writeInt32BE(4 + fields.length, 1)
      client.end(Buffer.concat([head, Buffer.from(fields)]))
    })
    client.on('error', () => {})
  })
  await once(crowded.listen(0, '127.0.0.1'), 'listening')
  onTestFinished(() => void crowded.close())
  const { db } = open(`postgres://anyone@127.0.0.1:${(crowded.address() as AddressInfo).port}/any`)
  const refused = await failing(db, 'select 1')
  expect(refused).toBeInstanceOf(DatabaseAway)
  expect((refused as Error).cause).toMatchObject({ code: '53200' })
})
