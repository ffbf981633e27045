import { once } from 'node:events'
import { connect, createServer, type AddressInfo } from 'node:net'
import { sql, type Kysely } from 'kysely'
import postgres from 'postgres'
import { afterAll, describe, expect, onTestFinished, test } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { migrate } from '../../src/db/migrate.ts'
import { roles, scopedTo, type Scopes } from '../../src/db/scope.ts'
import { uuidv7 } from '../../src/lib/ids.ts'
import { openPostgres } from '../../src/runtime/node/postgres.ts'
import { postgresScopes } from '../../src/runtime/postgres-dialect.ts'
import { PostgresPool } from '../../src/runtime/postgres-pool.ts'
import { createTestDatabase } from '../support/database.ts'

const database = await createTestDatabase()
afterAll(() => database.close())
const [mine, theirs] = [uuidv7(), uuidv7()]
for (const id of [mine, theirs]) {
  await database.db
    .insertInto('workspaces')
    .values({ id, slug: `w-${id}`, name: 'A workspace' })
    .execute()
  await sql`insert into agents (id, workspace_id, slug, name) values (${uuidv7()}, ${id}, 'one', 'One')`.execute(
    database.db,
  )
}

/** A way to the server on which it shows how often an answer had to be awaited before more could be sent. */
async function openCountedWay() {
  const { hostname, port } = new URL(database.url!)
  let ways = 0
  let answered = true
  const server = createServer((near) => {
    const far = connect(Number(port || 5432), hostname)
    near.on('data', (chunk: Buffer) => {
      if (answered) ways++
      answered = false
      far.write(chunk)
    })
    far.on('data', (chunk: Buffer) => {
      answered = true
      near.write(chunk)
    })
    near.on('close', () => far.destroy()).on('error', () => {})
    far.on('close', () => near.destroy()).on('error', () => {})
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const url = Object.assign(new URL(database.url!), {
    hostname: '127.0.0.1',
    port: String((server.address() as AddressInfo).port),
  })
  return {
    url: url.href,
    close: () => void server.close(),
    async count(work: () => Promise<unknown>): Promise<number> {
      // What is met for the first time is prepared, and the connection opened.
      await work()
      const before = ways
      await work()
      return ways - before
    },
  }
}

async function openScoped(options: { url?: string; max?: number; pooled?: boolean } = {}): Promise<Scopes> {
  const { url = database.url!, max = 1, pooled = false } = options
  const pool = new PostgresPool({ connect: (line) => postgres(url, { ...line, onnotice() {} } as object), max })
  const scopes = postgresScopes(pool, { pooled })
  onTestFinished(() => scopes.engine.destroy())
  return scopes
}

const slugs = (of: Kysely<Database>) => of.selectFrom('agents').select(['workspace_id', 'slug']).execute()

describe.each([
  ['on connections of our own', false],
  ['behind a pooler', true],
])('%s', (_, pooled) => {
  test('a statement in a workspace is one way to the server and back, and three in a transaction are four', async () => {
    const way = await openCountedWay()
    const { engine } = await openScoped({ url: way.url, pooled })
    onTestFinished(way.close)
    const tenant = scopedTo(engine, mine)
    const three = (of: Kysely<Database>) =>
      of.transaction().execute(async (tx) => {
        await slugs(tx)
        await sql`update agents set name = 'Again' where workspace_id = ${mine}::uuid`.execute(tx)
        await slugs(tx)
      })
    const ways = {
      statement: await way.count(() => slugs(tenant)),
      transaction: await way.count(() => three(tenant)),
      ofTheEngine: await way.count(() => slugs(engine)),
    }
    expect(ways).toEqual({ statement: 1, transaction: 4, ofTheEngine: 1 })
  })

  test('neither role nor workspace outlives what they were set for', async () => {
    const { engine, login } = await openScoped({ pooled })
    const tenant = scopedTo(engine, mine)
    await slugs(tenant)
    await tenant.transaction().execute(slugs)
    const after = sql<{ role: string; workspace: string }>`
      select current_user as role, coalesce(current_setting('app.workspace_id', true), '') as workspace`
    expect((await after.execute(engine)).rows).toEqual([{ role: roles.engine, workspace: '' }])
    expect((await after.execute(login)).rows).toEqual([{ role: 'postgres', workspace: '' }])
  })

  test('a statement whose plan has become stale is done again within its workspace, never outside', async () => {
    const { engine } = await openScoped({ pooled })
    const tenant = scopedTo(engine, mine)
    const table = sql.table(`stale_${uuidv7().replaceAll('-', '')}`)
    await sql`create table ${table} (workspace_id uuid not null)`.execute(database.db)
    await sql`alter table ${table} owner to ${sql.id(roles.migrator)}`.execute(database.db)
    await sql`insert into ${table} values (${mine}), (${theirs})`.execute(database.db)
    await sql`select secure_tables()`.execute(database.db)
    const read = () => sql`select * from ${table}`.execute(tenant)
    expect((await read()).rows).toEqual([{ workspace_id: mine }])
    await sql`alter table ${table} add column note text`.execute(database.db)
    expect((await read()).rows).toEqual([{ workspace_id: mine, note: null }])
    expect((await read()).rows).toEqual([{ workspace_id: mine, note: null }])
    await sql`drop table ${table}`.execute(database.db)
  })

  test('a statement that fails, or cannot be committed, leaves its connection as it was', async () => {
    const { engine } = await openScoped({ pooled })
    const tenant = scopedTo(engine, mine)
    const other = sql`insert into agents (id, workspace_id, slug, name)
      values (${uuidv7()}, ${theirs}, 'two', 'Two')`.execute(tenant)
    await expect(other).rejects.toMatchObject({ code: '42501' })
    await expect(sql`select 1 / 0`.execute(tenant)).rejects.toMatchObject({ code: '22012' })
    expect(await slugs(tenant)).toEqual([{ workspace_id: mine, slug: 'one' }])
  })
})

describe('a database user without special rights', () => {
  async function openAs(grants: (name: string) => string[]) {
    const name = `t_${uuidv7().replaceAll('-', '')}`
    const admin = postgres(database.url!, { max: 1, onnotice: () => {} })
    await admin.unsafe(`create role ${name} login`)
    await admin.unsafe(`create database ${name} owner ${name}`)
    for (const grant of grants(name)) await admin.unsafe(grant)
    const url = Object.assign(new URL(database.url!), { username: name, pathname: `/${name}` }).href
    const { db } = await openPostgres(url)
    onTestFinished(async () => {
      await db.destroy()
      await admin.unsafe(`drop database ${name} with (force)`)
      await admin.unsafe(`drop role ${name}`)
      await admin.end()
    })
    return { db, name }
  }

  test('is told what an administrator has to run where it may not act as the roles, and nothing is done', async () => {
    const { db, name } = await openAs(() => [])
    const migrating = migrate(db)
    await expect(migrating).rejects.toMatchObject({ code: '42501' })
    await expect(migrating).rejects.toThrow(`grant ${roles.app}, ${roles.engine}, ${roles.migrator} to ${name}`)
  })

  test('migrates and serves where it may, and is held by the policies itself', async () => {
    const { db, name } = await openAs((user) => [`grant ${roles.app}, ${roles.engine}, ${roles.migrator} to ${user}`])
    expect(await migrate(db)).toContain('0030-row-security')
    // From now on it has what it takes on, and nothing by itself.
    await sql.raw(`alter role ${name} noinherit`).execute(database.db)
    expect(await migrate(db)).toEqual([])
    for (const id of [mine, theirs]) {
      await db
        .insertInto('workspaces')
        .values({ id, slug: `w-${id}`, name: 'A workspace' })
        .execute()
      await sql`insert into agents (id, workspace_id, slug, name) values (${uuidv7()}, ${id}, 'one', 'One')`.execute(
        scopedTo(db, id),
      )
    }
    expect(await slugs(scopedTo(db, mine))).toEqual([{ workspace_id: mine, slug: 'one' }])
    const bare = postgres(Object.assign(new URL(database.url!), { username: name, pathname: `/${name}` }).href, {
      max: 1,
    })
    onTestFinished(() => bare.end())
    await expect(bare`select * from agents`).rejects.toMatchObject({ code: '42501' })
    await expect(bare`alter table agents disable row level security`).rejects.toMatchObject({ code: '42501' })
  })

  test('that has the role of the application alone becomes no other', async () => {
    const name = `t_${uuidv7().replaceAll('-', '')}`
    await sql.raw(`create role ${name} login in role ${roles.app}`).execute(database.db)
    const client = postgres(Object.assign(new URL(database.url!), { username: name }).href, { max: 1 })
    onTestFinished(async () => {
      await client.end()
      await sql.raw(`drop role ${name}`).execute(database.db)
    })
    await client.unsafe(`set role ${roles.app}`)
    for (const role of [roles.migrator, roles.engine, 'postgres']) {
      await expect(client.unsafe(`set role ${role}`), role).rejects.toMatchObject({ code: '42501' })
    }
    expect(await client`select slug from agents`).toHaveLength(0)
  })
})
