import { PGlite } from '@electric-sql/pglite'
import { Kysely, sql } from 'kysely'
import postgres from 'postgres'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { serveEmbedded, type EmbeddedServer } from '../../src/cli/dev/embedded-server.ts'
import { postgresDialect } from '../../src/runtime/postgres-dialect.ts'
import { PostgresPool } from '../../src/runtime/postgres-pool.ts'

let pglite: PGlite
let server: EmbeddedServer
beforeAll(async () => {
  pglite = await PGlite.create()
  await pglite.exec('create table entries (id int primary key, body jsonb)')
  server = await serveEmbedded(pglite)
})
afterAll(async () => {
  await server.close()
  await pglite.close()
})

const connect = (max = 5) =>
  postgres(`postgres://dev:dev@127.0.0.1:${server.port}/postgres`, { max, onnotice: () => {} })

test('answers several clients at once, each with its own results', async () => {
  const clients = Array.from({ length: 6 }, () => connect())
  const answers = await Promise.all(
    clients.flatMap((client, i) =>
      Array.from({ length: 10 }, async (_, j) => (await client`select ${i * 100 + j}::int as n, ${'text'} as t`)[0]!.n),
    ),
  )
  expect(answers).toEqual(clients.flatMap((_, i) => Array.from({ length: 10 }, (_, j) => i * 100 + j)))
  await Promise.all(clients.map((client) => client.end()))
})

test('keeps transactions of different clients apart', async () => {
  const [one, two] = [connect(), connect()]
  await Promise.all(
    [one, two].map((client, i) =>
      client
        .begin(async (tx) => {
          for (let n = 0; n < 5; n++) await tx`insert into entries values (${i * 10 + n}, ${tx.json({ n })})`
          if (i === 1) throw new Error('rolled back')
        })
        .catch(() => {}),
    ),
  )
  const ids = (await one`select id from entries order by id`).map((row) => row.id)
  expect(ids).toEqual([0, 1, 2, 3, 4])
  await Promise.all([one.end(), two.end()])
})

test('a client that vanishes in a transaction holds up nobody and leaves nothing behind', async () => {
  const [gone, other] = [connect(1), connect(1)]
  const reserved = await gone.reserve()
  await reserved`begin`
  await reserved`insert into entries values (100, null)`
  await gone.end({ timeout: 0 })
  expect(await other`select * from entries where id = 100`).toEqual([])
  expect(await other`select name from pg_prepared_statements where statement like ${'insert%100%'}`).toEqual([])
  await other.end()
})

test('an error reaches its client and the session goes on', async () => {
  const client = connect(1)
  await expect(client`select * from nowhere`).rejects.toMatchObject({ code: '42P01' })
  await expect(client.begin((tx) => tx`select 1/0`)).rejects.toMatchObject({ code: '22012' })
  expect((await client`select 1 as n`)[0]!.n).toBe(1)
  await client.end()
})

test('serves Kysely as a PostgreSQL server does', async () => {
  const url = `postgres://dev:dev@127.0.0.1:${server.port}/postgres`
  const pool = new PostgresPool({ connect: (line) => postgres(url, { ...line, onnotice() {} } as object), max: 5 })
  const db = new Kysely<{ entries: { id: number; body: unknown } }>({ dialect: postgresDialect(pool) })
  const rows = await db.transaction().execute(async (tx) => {
    await sql`select pg_advisory_xact_lock(1)`.execute(tx)
    await tx
      .insertInto('entries')
      .values({ id: 200, body: sql`${'{"a":[1,"ü"]}'}::text::jsonb` })
      .execute()
    return tx.selectFrom('entries').selectAll().where('id', '=', 200).execute()
  })
  expect(rows).toEqual([{ id: 200, body: { a: [1, 'ü'] } }])
  await db.destroy()
})
