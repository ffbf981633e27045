import { sql, type Kysely } from 'kysely'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { ComponentHealth } from '../../src/context.ts'
import type { Database } from '../../src/db/database.ts'
import { jsonb } from '../../src/db/json.ts'
import { migrate } from '../../src/db/migrate.ts'
import { asLogin, roles } from '../../src/db/scope.ts'
import { isUniqueViolation } from '../../src/db/unique-violation.ts'

export interface OpenDatabase {
  db: Kysely<Database>
  close(): Promise<void>
}

/** A probe's word as /health takes it: one that throws is unwell. */
export const statusOf = (probe: () => Promise<ComponentHealth>): Promise<ComponentHealth['status']> =>
  probe().then(
    ({ status }) => status,
    () => 'unhealthy' as const,
  )

/** What the engine and the services rely on, on every database. `open` gives a migrated one; `again` another way to it. */
export function describeDatabase(open: () => Promise<OpenDatabase>) {
  let opened: OpenDatabase
  let db: Kysely<Database>
  const id = crypto.randomUUID().replaceAll('-', '')
  const items = sql.table(`items_${id}`)
  beforeAll(async () => {
    opened = await open()
    db = opened.db
    await migrate(db)
    await sql`create table ${items} (
      id integer primary key, name text unique, n integer not null default 0, doc jsonb, at timestamptz(3),
      price numeric(12, 4), ratio double precision, big bigint, ok boolean)`.execute(asLogin(db))
    await sql`grant all on ${items} to ${sql.id(roles.engine)}`.execute(asLogin(db))
  })
  beforeEach(async () => {
    await sql`truncate ${items}`.execute(db)
  })
  afterAll(async () => {
    await sql`drop table ${items}`.execute(asLogin(db))
    await opened.close()
  })
  const ids = async () => {
    const { rows } = await sql<{ id: number }>`select id from ${items} order by id`.execute(db)
    return rows.map((row) => row.id)
  }

  test('a transaction that returns keeps its rows, one that throws leaves none', async () => {
    const kept = await db.transaction().execute(async (tx) => {
      await sql`insert into ${items} (id) values (1)`.execute(tx)
      return 'kept'
    })
    expect(kept).toBe('kept')
    const thrown = db.transaction().execute(async (tx) => {
      await sql`insert into ${items} (id) values (2)`.execute(tx)
      throw new Error('on second thoughts')
    })
    await expect(thrown).rejects.toThrow('on second thoughts')
    expect(await ids()).toEqual([1])
  })

  test('a statement that fails takes its transaction with it, and nothing that comes after', async () => {
    const failing = db.transaction().execute(async (tx) => {
      await sql`insert into ${items} (id) values (1)`.execute(tx)
      await sql`select 1 / 0`.execute(tx)
    })
    await expect(failing).rejects.toMatchObject({ code: '22012' })
    expect(await ids()).toEqual([])
    await db.transaction().execute((tx) => sql`insert into ${items} (id) values (3)`.execute(tx))
    expect(await ids()).toEqual([3])
  })

  test('transactions at once that read and write back lose no change', async () => {
    await sql`insert into ${items} (id) values (1)`.execute(db)
    const add = () =>
      db.transaction().execute(async (tx) => {
        const { rows } = await sql<{ n: number }>`select n from ${items} where id = 1 for update`.execute(tx)
        await sql`update ${items} set n = ${rows[0]!.n + 1} where id = 1`.execute(tx)
      })
    await Promise.all(Array.from({ length: 20 }, add))
    const { rows } = await sql<{ n: number }>`select n from ${items}`.execute(db)
    expect(rows).toEqual([{ n: 20 }])
  })

  test('claims at once that skip what is locked take each row once, and all of them', async () => {
    await sql`insert into ${items} (id) select generate_series(1, 100)`.execute(db)
    const claim = async () => {
      const { rows } = await sql<{ id: number }>`
        update ${items} set ok = true
        where id in (select id from ${items} where ok is null order by id limit 15 for update skip locked)
        returning id`.execute(db)
      return rows.map((row) => row.id)
    }
    const claimed: number[] = []
    for (let found = [0]; found.length > 0; claimed.push(...found)) {
      found = (await Promise.all([claim(), claim(), claim(), claim()])).flat()
    }
    expect(claimed.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, i) => i + 1))
  })

  test('of a conditional change at once one wins, and the others see that they have not', async () => {
    await sql`insert into ${items} (id) values (1)`.execute(db)
    const win = () => sql`update ${items} set n = 1 where id = 1 and n = 0 returning id`.execute(db)
    const outcomes = await Promise.all([win(), win(), win()])
    expect(outcomes.map(({ rows }) => rows.length).toSorted()).toEqual([0, 0, 1])
    expect(outcomes.map(({ numAffectedRows }) => Number(numAffectedRows)).toSorted()).toEqual([0, 0, 1])
  })

  const documents: [string, unknown][] = [
    ['an object', { b: 1, a: [true, null, { deep: ['x'] }], '': 'empty key' }],
    ['a text', 'plain "quoted" text'],
    ['a text that is a number', '1'],
    ['numbers', [0, -1.5, 1e21, 9007199254740991]],
    ['many alphabets', 'Grüße, 世界, 👩‍🚀'],
    ['backslashes', 'C:\\new\\u0041'],
    ['null', null],
    ['false', false],
  ]
  test.each(documents)('jsonb gives back what was stored: %s', async (_, doc) => {
    await sql`insert into ${items} (id, doc) values (1, ${jsonb(doc)})`.execute(db)
    const { rows } = await sql<{ doc: unknown; absent: boolean }>`
      select doc, doc is null as absent from ${items}`.execute(db)
    expect(rows).toEqual([{ doc, absent: false }])
  })

  test('jsonb takes what it cannot hold as the text of its escape', async () => {
    await sql`insert into ${items} (id, doc) values (1, ${jsonb({ nul: 'a\0b', half: '\ud800' })})`.execute(db)
    const { rows } = await sql<{ doc: unknown }>`select doc from ${items}`.execute(db)
    expect(rows).toEqual([{ doc: { nul: 'a\\u0000b', half: '\\ud800' } }])
  })

  test('an instant keeps its milliseconds, in both directions', async () => {
    const at = new Date('2026-03-29T01:30:00.123Z')
    await sql`insert into ${items} (id, at) values (1, ${at}), (2, ${at.toISOString()}::text::timestamptz)`.execute(db)
    const { rows } = await sql<{ at: Date }>`select at from ${items} where at = ${at} order by id`.execute(db)
    expect(rows).toEqual([{ at }, { at }])
  })

  test('app_now() is one instant within a statement and never goes back', async () => {
    const { rows } = await sql<{ one: boolean; last: Date }>`
      select app_now() = app_now() as one, app_now() as last`.execute(db)
    const { rows: later } = await sql<{ after: boolean }>`
      select app_now() >= ${rows[0]!.last}::timestamptz as after`.execute(db)
    expect([rows[0]!.one, later[0]!.after]).toEqual([true, true])
  })

  test('numbers, booleans and what is too exact for a number come as they are expected', async () => {
    await sql`insert into ${items} (id, price, ratio, big, ok) values (1, 0.1, 0.1, 9007199254740993, true)`.execute(db)
    const { rows } = await sql`select price, ratio, big::text as big, ok, name from ${items}`.execute(db)
    expect(rows).toEqual([{ price: '0.1000', ratio: 0.1, big: '9007199254740993', ok: true, name: null }])
  })

  test('a second row of the same key is told apart from every other fault', async () => {
    const insert = (name: string) => sql`insert into ${items} (id, name) values (1, ${name})`.execute(db)
    const outcomes = await Promise.allSettled([insert('a'), insert('b'), insert('c')])
    const faults = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason as unknown] : []))
    expect(faults.map(isUniqueViolation)).toEqual([true, true])
    const other = await sql`insert into ${items} (id) values (null)`.execute(db).catch((error: unknown) => error)
    expect(isUniqueViolation(other)).toBe(false)
    const ignored = await sql`insert into ${items} (id) values (1) on conflict do nothing returning id`.execute(db)
    expect(ignored.rows).toEqual([])
  })

  test('migrations that start together run once', async () => {
    const name = `9999-${id}`
    const mine = [{ name, statements: [`create table made_${id} (id integer)`] }]
    const applied = await Promise.all([migrate(db, mine), migrate(db, mine), migrate(db, mine)])
    expect(applied.flat()).toEqual([name])
    await sql`drop table ${sql.table(`made_${id}`)}`.execute(asLogin(db))
    await sql`delete from schema_migrations where name = ${name}`.execute(asLogin(db))
  })

  test('a migration that fails leaves nothing behind', async () => {
    const broken = [{ name: `9998-${id}`, statements: [`create table left_${id} (id integer)`, 'select 1 / 0'] }]
    await expect(migrate(db, broken)).rejects.toMatchObject({ code: '22012' })
    const { rows } = await sql`select to_regclass(${`left_${id}`}) as found`.execute(db)
    expect(rows).toEqual([{ found: null }])
  })

  test('what is asked of a closed database fails; nothing hangs and nothing breaks', async () => {
    const other = await open()
    await sql`select 1`.execute(other.db)
    await other.close()
    await expect(sql`select 1`.execute(other.db)).rejects.toThrow()
    await expect(other.db.transaction().execute((tx) => sql`select 1`.execute(tx))).rejects.toThrow()
  })
}
