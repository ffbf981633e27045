import { readdir } from 'node:fs/promises'
import { PGlite } from '@electric-sql/pglite'
import { sql, type Kysely } from 'kysely'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { copyRows } from '../../src/db/copy-rows.ts'
import type { Database } from '../../src/db/database.ts'
import { migrate } from '../../src/db/migrate.ts'
import { lockDataDir } from '../../src/runtime/node/data-dir-lock.ts'
import { writeMove } from '../../src/runtime/node/embedded-move.ts'
import { embeddedFolder, openEmbedded } from '../../src/runtime/node/embedded.ts'
import { pgliteScopes } from '../../src/runtime/node/pglite-dialect.ts'
import { prepareDatabase } from '../../src/runtime/node/prepared-database.ts'
import { createTestDatabase } from '../support/database.ts'
import { listTables, loosenSchema } from '../support/every-table.ts'
import { fillWorkspace } from '../support/filled-workspace.ts'
import { folderForTest } from '../support/folder.ts'
import { createTestLog } from '../support/log.ts'
import { runtimes, startProcess } from '../support/process.ts'

const patience = { timeout: 180_000 }
beforeAll(async () => {
  await prepareDatabase()
}, patience.timeout)

const target = await createTestDatabase()
afterAll(() => target.close())

/** What a table holds, as PostgreSQL writes it, in no order. */
async function contentsOf(db: Kysely<Database>, table: string): Promise<string[]> {
  const { rows } = await db.transaction().execute(async (tx) => {
    await sql`set local timezone = 'UTC'`.execute(tx)
    return sql<{ row: string }>`select t::text as row from ${sql.table(table)} t`.execute(tx)
  })
  return rows.map(({ row }) => row).toSorted()
}

test('every row of every table arrives as it was', patience, async () => {
  const { login: source } = pgliteScopes(await PGlite.create())
  await migrate(source)
  await fillWorkspace(source)
  await sql`update run_events set data = '{"text": "a\\\\b \\"c\\" ✓ \\n", "n": 1e400, "nothing": null}'::jsonb`.execute(
    source,
  )
  await sql`update api_keys set scopes = 'null'::jsonb`.execute(source)
  // More than one batch of them.
  await sql`insert into run_events (run_id, seq, type, data)
    select e.run_id, 1000 + n, e.type, e.data from (select * from run_events limit 1) e, generate_series(1, 450) n`.execute(
    source,
  )
  await sql`insert into freed_slots (counter) select gen_random_uuid() from generate_series(1, 3)`.execute(source)
  const mine = await createTestDatabase()
  // The rows need not make sense, so nothing may ask whether they do.
  await loosenSchema(mine.db)
  const counts = await copyRows(source, mine.engine)

  const names = (await listTables(source)).map(({ name }) => name).filter((name) => name !== 'schema_migrations')
  expect([...counts!.keys()].toSorted()).toEqual(names.toSorted())
  const filled = names.filter((name) => counts!.get(name)! > 0)
  expect(filled.length).toBeGreaterThan(50)
  for (const name of names) expect(await contentsOf(mine.db, name), name).toEqual(await contentsOf(source, name))

  // What counts by itself goes on behind what has come.
  const { rows: counters } = await sql<{ table: string; column: string }>`
    select attrelid::regclass::text as table, attname as column from pg_attribute
    where attidentity <> '' and attrelid::regclass::text = any(${names})`.execute(mine.db)
  expect(counters.length).toBeGreaterThan(0)
  for (const { table, column } of counters) {
    const { rows } = await sql<{ fresh: boolean }>`
      select nextval(pg_get_serial_sequence(${table}, ${column})) > max(${sql.ref(column)}) as fresh
      from ${sql.table(table)}`.execute(mine.db)
    expect(rows, table).toEqual([{ fresh: true }])
  }
  await source.destroy()
  await mine.close()
})

test(
  'an installation goes on in PostgreSQL where it stood, and its folder is not started by accident',
  patience,
  async () => {
    const dataDir = await folderForTest()
    const embedded = { PORT: '0', DATA_DIR: dataDir, LOG_LEVEL: 'warn' }
    const moved = { ...embedded, DATABASE_URL: target.url! }
    const run = (script: string, env: Record<string, string>) =>
      startProcess(runtimes.node, ['src/cli/launch.js', script], env)
    const serve = async (env: Record<string, string>) => {
      const server = run('src/node-server.ts', env)
      const [, address] = await server.saying(/(http:\/\/127\.0\.0\.1:\d+)/)
      return { server, address: address! }
    }
    const first = await serve(embedded)
    const key = /ak_srv_[0-9a-f]{64}/.exec((await first.server.saying(/ak_srv_[0-9a-f]{64}/))[0])![0]
    const ask = async (address: string, path: string, body?: object) => {
      const response = await fetch(`${address}${path}`, {
        headers: { 'x-api-key': key, 'content-type': 'application/json', prefer: 'wait=30' },
        ...(body && { method: 'POST', body: JSON.stringify(body) }),
      })
      return { status: response.status, body: (await response.json()) as any }
    }
    const steps = [{ id: 'sum', kind: 'transform', value: { sum: { $expr: '2 + 3' } } }]
    await ask(first.address, '/api/workflow-recipes', { name: 'Sum', steps })
    const ran = await ask(first.address, '/api/workflow-recipes/sum/execute', {})
    expect(ran.body).toMatchObject({ status: 'succeeded', output: { sum: 5 } })
    await ask(first.address, '/api/schedules', { recipe_id: 'sum', cron: '0 7 * * *' })
    await ask(first.address, '/api/credentials', {
      slug: 'tracker',
      kind: 'bearer',
      fields: { token: 't' },
      hosts: ['a.example'],
    })

    const busy = run('src/cli/move-to-postgres.ts', moved)
    expect(await busy.ended).toBe(69)
    expect(busy.stderr()).toContain('is in use by process')
    first.server.child.kill('SIGTERM')
    expect(await first.server.ended).toBe(0)

    const move = run('src/cli/move-to-postgres.ts', moved)
    expect({ code: await move.ended, said: move.stderr() }).toEqual({ code: 0, said: '' })
    expect(move.stdout()).toMatch(/^workflow_recipes {2}1$/m)
    expect(move.stdout()).toContain(`is kept in ${dataDir}/pglite.moved`)

    const second = await serve(moved)
    const found = await ask(second.address, `/api/executions/${ran.body.id}`)
    expect(found.body).toMatchObject({ status: 'succeeded', output: { sum: 5 } })
    expect((await ask(second.address, '/api/schedules')).body.items).toHaveLength(1)
    expect((await ask(second.address, '/api/audit-logs/verify')).body).toMatchObject({ valid: true, broken: null })
    const again = await ask(second.address, '/api/workflow-recipes/sum/execute', {})
    expect(again.body).toMatchObject({ status: 'succeeded', output: { sum: 5 } })
    second.server.child.kill('SIGTERM')
    await second.server.ended

    const forgotten = run('src/node-server.ts', embedded)
    expect(await forgotten.ended).toBe(78)
    expect(forgotten.stderr()).toContain('was moved to PostgreSQL: set DATABASE_URL')
    const twice = run('src/cli/move-to-postgres.ts', moved)
    expect(await twice.ended).toBe(78)
    expect(twice.stderr()).toContain('It was moved before')
  },
)

/** Has the program stop for ever where it would give the folder its other name. */
const stopBeforeTheName = `data:text/javascript,${encodeURIComponent(`
  import files from 'node:fs/promises'
  import { syncBuiltinESMExports } from 'node:module'
  const { rename } = files
  files.rename = (from, to) => {
    if (!to.endsWith('pglite.moved')) return rename(from, to)
    console.log('stopped')
    return new Promise(() => setInterval(() => {}, 1000))
  }
  syncBuiltinESMExports()`)}`

async function aSmallInstallation() {
  const dataDir = await folderForTest()
  const { db } = await openEmbedded(dataDir, createTestLog())
  await migrate(db)
  await sql`insert into workspaces (id, slug, name) values (gen_random_uuid(), 'moved', 'Moved')`.execute(db)
  await db.destroy()
  const start = (script: string, url?: string, ...options: string[]) => {
    const env = { PORT: '0', DATA_DIR: dataDir, LOG_LEVEL: 'warn', ...(url && { DATABASE_URL: url }) }
    return startProcess(runtimes.node, [...options, 'src/cli/launch.js', script], env)
  }
  const run = async (script: string, url?: string) => {
    const child = start(script, url)
    return { code: await child.ended, stdout: child.stdout(), stderr: child.stderr() }
  }
  return { dataDir, start, run }
}

test(
  'a move that is killed between its commit and the new name of the folder is finished by the next',
  patience,
  async () => {
    const { dataDir, start, run } = await aSmallInstallation()
    const mine = await createTestDatabase()
    const killed = start('src/cli/move-to-postgres.ts', mine.url, '--import', stopBeforeTheName)
    await killed.saying(/^stopped$/m)
    expect(await mine.db.selectFrom('workspaces').select('slug').execute()).toEqual([{ slug: 'moved' }])
    // Nobody gets in between, while it is at work and afterwards.
    expect(() => lockDataDir(dataDir)).toThrow(`in use by process ${killed.pid}`)
    killed.child.kill('SIGKILL')
    await killed.ended
    const between = await run('src/node-server.ts')
    expect(between).toMatchObject({ code: 78, stderr: expect.stringContaining('run move-to-postgres again') })

    // What servers have done there since stays.
    await mine.db.updateTable('workspaces').set({ name: 'Later' }).execute()
    const again = await run('src/cli/move-to-postgres.ts', mine.url)
    expect(again).toMatchObject({ code: 0, stdout: expect.stringContaining('had brought every row'), stderr: '' })
    const left = await readdir(dataDir)
    expect(left.filter((name) => name.startsWith('pglite'))).toEqual(['pglite.moved'])
    expect(await mine.db.selectFrom('workspaces').select('name').execute()).toEqual([{ name: 'Later' }])
    const forgotten = await run('src/node-server.ts')
    expect(forgotten.code).toBe(78)
    expect(forgotten.stderr).toContain('was moved to PostgreSQL: set DATABASE_URL')
    await mine.close()
  },
)

test('a move that ended before its commit is made anew, and not where others have workspaces', patience, async () => {
  const { dataDir, run } = await aSmallInstallation()
  await writeMove(embeddedFolder(dataDir), { token: crypto.randomUUID(), to: 'PostgreSQL at here' })
  const [full, mine] = [await createTestDatabase(), await createTestDatabase()]
  await sql`insert into workspaces (id, slug, name) values (gen_random_uuid(), 'other', 'Other')`.execute(full.db)
  const refused = await run('src/cli/move-to-postgres.ts', full.url)
  expect(refused).toMatchObject({ code: 69, stderr: expect.stringContaining('holds workspaces already') })
  expect((await readdir(dataDir)).toSorted()).toEqual(['lock', 'pglite', 'pglite.moving'])

  const done = await run('src/cli/move-to-postgres.ts', mine.url)
  expect(done).toMatchObject({ code: 0, stdout: expect.stringMatching(/^workspaces {2}1$/m) })
  expect(await mine.db.selectFrom('workspaces').select('slug').execute()).toEqual([{ slug: 'moved' }])
  expect((await readdir(dataDir)).toSorted()).toEqual(['lock', 'pglite.moved'])
  await full.close()
  await mine.close()
})

test('a database that is in use is left as it is', patience, async () => {
  const { login: source } = pgliteScopes(await PGlite.create())
  await migrate(source)
  const mine = await createTestDatabase()
  await mine.db
    .insertInto('workspaces')
    .values({ id: crypto.randomUUID(), slug: 'here', name: 'Here' } as never)
    .execute()
  expect(await copyRows(source, mine.engine)).toBeNull()
  expect(await mine.db.selectFrom('workspaces').select('slug').execute()).toEqual([{ slug: 'here' }])
  expect(await mine.db.selectFrom('plans').select('slug').execute()).toEqual([{ slug: 'default' }])
  await source.destroy()
  await mine.close()
})
