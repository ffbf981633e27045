import { expect, onTestFinished, test } from 'vitest'
import type { Runtime } from '../../../src/context.ts'
import { rolePermissions } from '../../../src/lib/permissions.ts'
import { Secret } from '../../../src/lib/secret.ts'
import { firstWorkspaceSeed } from '../../../src/seeds/0001-first-workspace.seed.ts'
import { revokeApiKey } from '../../../src/services/api-keys.service.ts'
import { ensureAdminKey } from '../../../src/services/identity/admin-key.ts'
import { verifyApiKey } from '../../../src/services/identity/verify-key.ts'
import { databaseForTest, type TestDatabase } from '../../support/database.ts'
import { createServiceContext } from '../../support/service-context.ts'

const tokenOf = (digit: string) => `ak_srv_${digit.repeat(64)}`

async function start(
  database: TestDatabase,
  options: { adminKey?: string; databaseUrl?: string; keep?: (key: string) => Promise<void> } = {},
) {
  const base = await createServiceContext(database)
  const lines: string[] = []
  const deferred: Promise<unknown>[] = []
  // Before the database closes, as at a shutdown.
  onTestFinished(async () => void (await Promise.all(deferred)))
  const note = (message: string) => void lines.push(message)
  const runtime: Runtime = {
    ...base,
    defer: (work) => void deferred.push(work),
    log: { debug: note, info: note, warn: note, error: note, with: () => base.log },
    config: {
      ...base.config,
      databaseUrl: options.databaseUrl ? new Secret(options.databaseUrl) : null,
      adminApiKey: options.adminKey ? new Secret(options.adminKey) : null,
    },
  }
  await firstWorkspaceSeed.run(runtime)
  return { runtime, lines, ...(await ensureAdminKey(runtime, options.keep ?? (async () => {}))) }
}

const defaultWorkspace = (database: TestDatabase) =>
  database.db.selectFrom('workspaces').selectAll().where('slug', '=', 'default').execute()
const refusal = expect.objectContaining({ kind: 'unauthenticated' })

test('the first start of an embedded database makes one owner key, later starts make none', async () => {
  const database = await databaseForTest()
  const first = await start(database)
  expect(first.generated).toMatch(/^ak_srv_[0-9a-f]{64}$/)
  const { actor } = await verifyApiKey(first.runtime, first.generated!)
  expect([...actor.permissions].sort()).toEqual([...rolePermissions.owner].sort())
  expect([actor.workspaceId]).toEqual((await defaultWorkspace(database)).map(({ id }) => id))
  expect((await start(database)).generated).toBeNull()
})

test('a key that could not be kept never becomes valid, and the next start makes another', async () => {
  const database = await databaseForTest()
  const full = async () => Promise.reject(new Error('The disk is full.'))
  await expect(start(database, { keep: full })).rejects.toThrow('The disk is full.')
  expect(await database.db.selectFrom('api_keys').select('id').execute()).toEqual([])
  const kept: string[] = []
  const { generated } = await start(database, { keep: async (key) => void kept.push(key) })
  expect(kept).toEqual([generated])
})

test('a database that had a key gets no other one by itself, not even when all are revoked', async () => {
  const database = await databaseForTest()
  const first = await start(database)
  const { actor, id } = await verifyApiKey(first.runtime, first.generated!)
  await revokeApiKey({ ...first.runtime, actor }, id)
  expect((await start(database)).generated).toBeNull()
})

test('on a PostgreSQL server nothing is made; the log says how to make a key', async () => {
  const database = await databaseForTest()
  const { generated, lines } = await start(database, { databaseUrl: 'postgres://db.example/x' })
  expect(generated).toBeNull()
  expect(lines.join()).toContain('Set ADMIN_API_KEY')
  expect(await database.db.selectFrom('api_keys').select('id').execute()).toEqual([])
})

test('ADMIN_API_KEY is installed as the owner key of the first workspace, once however often it starts', async () => {
  const database = await databaseForTest()
  await start(database, { adminKey: tokenOf('a') })
  const { runtime, generated } = await start(database, { adminKey: tokenOf('a') })
  expect(generated).toBeNull()
  expect((await verifyApiKey(runtime, tokenOf('a'))).actor.permissions.has('workspaces:manage')).toBe(true)
  expect(await database.db.selectFrom('api_keys').select('id').execute()).toHaveLength(1)
})

test('a changed ADMIN_API_KEY revokes the one before, at once in the process that installs it', async () => {
  const database = await databaseForTest()
  const before = await start(database, { adminKey: tokenOf('a') })
  await verifyApiKey(before.runtime, tokenOf('a'))
  const after = await start(database, { adminKey: tokenOf('b') })
  await expect(async () => await verifyApiKey(after.runtime, tokenOf('a'))).rejects.toEqual(refusal)
  expect((await verifyApiKey(after.runtime, tokenOf('b'))).kind).toBe('server')
})

test('an ADMIN_API_KEY that was revoked stays revoked over a restart, and the log says so', async () => {
  const database = await databaseForTest()
  const first = await start(database, { adminKey: tokenOf('a') })
  const { actor, id } = await verifyApiKey(first.runtime, tokenOf('a'))
  await revokeApiKey({ ...first.runtime, actor }, id)
  const { runtime, lines } = await start(database, { adminKey: tokenOf('a') })
  await expect(async () => await verifyApiKey(runtime, tokenOf('a'))).rejects.toEqual(refusal)
  expect(lines.join()).toContain('revoked')
})

test('the key of the first start can become the one of the configuration', async () => {
  const database = await databaseForTest()
  const { generated } = await start(database)
  const { runtime } = await start(database, { adminKey: generated! })
  await verifyApiKey(runtime, generated!)
  expect(await database.db.selectFrom('api_keys').select('created_by').execute()).toEqual([
    { created_by: 'config:ADMIN_API_KEY' },
  ])
})

test('processes that start together make one workspace and one key', async () => {
  const database = await databaseForTest()
  await Promise.all([1, 2, 3, 4, 5].map(() => start(database, { adminKey: tokenOf('a') })))
  expect(await defaultWorkspace(database)).toHaveLength(1)
  expect(await database.db.selectFrom('api_keys').select('id').execute()).toHaveLength(1)
})

test('a new name of the first workspace outlives a restart', async () => {
  const database = await databaseForTest()
  await start(database)
  await database.db.updateTable('workspaces').set({ name: 'Ours' }).where('slug', '=', 'default').execute()
  await start(database)
  expect((await defaultWorkspace(database)).map(({ name }) => name)).toEqual(['Ours'])
})
