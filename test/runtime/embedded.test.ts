import { existsSync } from 'node:fs'
import { cp, mkdir, readdir, rename, rm, rmdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { sql } from 'kysely'
import { beforeAll, expect, test } from 'vitest'
import { pendingMigrations } from '../../src/db/pending-migrations.ts'
import { finishMove, movedFolder, writeMove } from '../../src/runtime/node/embedded-move.ts'
import { embeddedFolder, openEmbedded } from '../../src/runtime/node/embedded.ts'
import { preparedDatabasePath, prepareDatabase } from '../../src/runtime/node/prepared-database.ts'
import { folderForTest } from '../support/folder.ts'
import { createTestLog } from '../support/log.ts'

const log = createTestLog()
const prepared = preparedDatabasePath()

beforeAll(async () => {
  await prepareDatabase()
})

test('a first start comes from the prepared database: migrated already, and empty', async () => {
  const dataDir = await folderForTest()
  const { db, label } = await openEmbedded(dataDir, log, prepared)
  expect(await pendingMigrations(db)).toEqual([])
  expect(await db.selectFrom('workspaces').selectAll().execute()).toEqual([])
  expect(label).toContain(join(dataDir, 'pglite'))
  await db.destroy()
})

test('the archive of a package may lose the empty folders of the prepared database', async () => {
  const unpacked = join(await folderForTest(), 'unpacked')
  await cp(prepared, unpacked, { recursive: true })
  const folders = (await readdir(unpacked, { recursive: true, withFileTypes: true })).filter((it) => it.isDirectory())
  for (const { parentPath, name } of folders) await rmdir(join(parentPath, name)).catch(() => {})
  expect(existsSync(join(unpacked, 'pg_notify'))).toBe(false)
  const { db } = await openEmbedded(await folderForTest(), log, unpacked)
  expect(await pendingMigrations(db)).toEqual([])
  await db.destroy()
})

test('what was written is there after the next start, and the prepared database is unchanged', async () => {
  const dataDir = await folderForTest()
  const first = await openEmbedded(dataDir, log, prepared)
  await sql`insert into workspaces (id, slug, name) values (gen_random_uuid(), 'w', 'W')`.execute(first.db)
  await first.db.destroy()
  const again = await openEmbedded(dataDir, log, prepared)
  expect(await again.db.selectFrom('workspaces').select('slug').execute()).toEqual([{ slug: 'w' }])
  await again.db.destroy()
  const other = await openEmbedded(await folderForTest(), log, prepared)
  expect(await other.db.selectFrom('workspaces').select('slug').execute()).toEqual([])
  await other.db.destroy()
})

test('what a kill in mid-copy left is thrown away, not opened', async () => {
  const dataDir = await folderForTest()
  await mkdir(join(dataDir, 'pglite.unfinished', 'base'), { recursive: true })
  await writeFile(join(dataDir, 'pglite.unfinished', 'PG_VERSION'), 'half')
  const { db } = await openEmbedded(dataDir, log, prepared)
  expect(await pendingMigrations(db)).toEqual([])
  await db.destroy()
  expect(existsSync(join(dataDir, 'pglite.unfinished'))).toBe(false)
})

test('without a prepared database, one is created', async () => {
  const dataDir = await folderForTest()
  const { db } = await openEmbedded(dataDir, log, join(dataDir, 'no-such-file'))
  expect((await pendingMigrations(db)).length).toBeGreaterThan(0)
  await db.destroy()
})

test('a damaged database is refused with its path and what to do, and left as it is', async () => {
  const dataDir = await folderForTest()
  const folder = join(dataDir, 'pglite')
  await cp(prepared, folder, { recursive: true })
  await rm(join(folder, 'global'), { recursive: true })
  await expect(openEmbedded(dataDir, log, prepared)).rejects.toThrow(/cannot be opened.*from a backup/)
  expect(await readdir(folder)).toContain('PG_VERSION')
})

test('a database that may be in PostgreSQL already is not opened, and one that is there makes no room for another', async () => {
  const dataDir = await folderForTest()
  await (await openEmbedded(dataDir, log, prepared)).db.destroy()
  const folder = embeddedFolder(dataDir)
  await writeMove(folder, { token: crypto.randomUUID(), to: 'PostgreSQL at db.example/orders' })
  await expect(openEmbedded(dataDir, log, prepared)).rejects.toMatchObject({
    exitCode: 78,
    message: expect.stringMatching(/run move-to-postgres again .* DATABASE_URL of PostgreSQL at db\.example\/orders/),
  })
  // Which may have been cut off at any of its steps, and is done again.
  await rename(folder, movedFolder(folder))
  await expect(openEmbedded(dataDir, log, prepared)).rejects.toThrow('was moved to PostgreSQL: set DATABASE_URL')
  await finishMove(folder)
  await expect(openEmbedded(dataDir, log, prepared)).rejects.toThrow('was moved to PostgreSQL: set DATABASE_URL')
  expect((await readdir(dataDir)).toSorted()).toEqual(['pglite.moved'])
})

test('preparing again does nothing, and a new version removes the old ones and nothing else', async () => {
  const home = await folderForTest()
  let made = 0
  const make = async (folder: string) => {
    made += 1
    await mkdir(folder)
  }
  const old = join(home, 'database-aaaaaaaaaaaaaaaa')
  expect([await prepareDatabase(old, make), await prepareDatabase(old, make)]).toEqual([true, false])
  await writeFile(join(home, 'index.html'), 'kept')
  expect(await prepareDatabase(join(home, 'database-bbbbbbbbbbbbbbbb'), make)).toBe(true)
  expect((await readdir(home)).toSorted()).toEqual(['database-bbbbbbbbbbbbbbbb', 'index.html'])
  expect(made).toBe(2)
})

test('a preparation that fails leaves nothing that could be taken for a prepared database', async () => {
  const home = await folderForTest()
  const make = async (folder: string) => {
    await mkdir(folder)
    throw new Error('disk full')
  }
  await expect(prepareDatabase(join(home, 'database-aaaaaaaaaaaaaaaa'), make)).rejects.toThrow('disk full')
  expect(await readdir(home)).toEqual([])
})
