import { expect, test } from 'vitest'
import { createCipher, sealedBy } from '../../../src/runtime/cipher.ts'
import { loadCredential } from '../../../src/runtime/credential-reader.ts'
import {
  createCredential,
  deleteCredential,
  resealCredentials,
  type NewCredential,
} from '../../../src/services/credentials.service.ts'
import { createTestDatabase, databaseForTest } from '../../support/database.ts'
import { createServiceContext } from '../../support/service-context.ts'

const database = await createTestDatabase()
const oldRing = `old:${btoa('a'.repeat(32))}`
const newRing = `new:${btoa('b'.repeat(32))},${oldRing}`
const bearer: NewCredential = {
  slug: 'svc',
  hosts: ['api.example.com'],
  kind: 'bearer',
  fields: { token: 'tok-5c1e7d' },
}

async function setUp(on = database, ring = oldRing) {
  return { ...(await createServiceContext(on)), cipher: createCipher(ring) }
}

test('the guard reads what was stored; the row does not hold it in the clear', async () => {
  const ctx = await setUp()
  const { id } = await createCredential(ctx, bearer)
  expect(await loadCredential(ctx.db, ctx.cipher, ctx.actor.workspaceId, 'svc')).toEqual({
    slug: 'svc',
    hosts: ['api.example.com'],
    kind: 'bearer',
    fields: { token: 'tok-5c1e7d' },
  })
  const row = await ctx.db.selectFrom('credentials').selectAll().where('id', '=', id).executeTakeFirstOrThrow()
  expect(JSON.stringify(row)).not.toContain('tok-')
  expect(sealedBy(row.sealed)).toBe('old')
})

test('the guard gets nothing of another workspace, nothing unknown and nothing deleted', async () => {
  const [mine, theirs] = [await setUp(), await setUp()]
  await createCredential(mine, bearer)
  const load = (workspaceId: string, slug: string) => loadCredential(mine.db, mine.cipher, workspaceId, slug)
  expect(await load(theirs.actor.workspaceId, 'svc')).toBeNull()
  expect(await load(mine.actor.workspaceId, 'other')).toBeNull()
  await deleteCredential(mine, 'svc')
  expect(await load(mine.actor.workspaceId, 'svc')).toBeNull()
})

test('a sealed secret that was copied to another row or workspace does not open', async () => {
  const [mine, theirs] = [await setUp(), await setUp()]
  const stolen = await createCredential(mine, bearer)
  const { sealed } = await mine.db
    .selectFrom('credentials')
    .select('sealed')
    .where('id', '=', stolen.id)
    .executeTakeFirstOrThrow()
  for (const ctx of [mine, theirs]) {
    const own = await createCredential(ctx, { ...bearer, slug: 'own', hosts: ['evil.example.com'] })
    await ctx.db.updateTable('credentials').set({ sealed }).where('id', '=', own.id).execute()
    await expect(loadCredential(ctx.db, ctx.cipher, ctx.actor.workspaceId, 'own')).rejects.toThrow('cannot be opened')
  }
})

test('use is recorded, deferred, at most once a minute', async () => {
  const own = await databaseForTest()
  const ctx = await setUp(own)
  await createCredential(ctx, bearer)
  const deferred: Promise<unknown>[] = []
  const use = () => loadCredential(ctx.db, ctx.cipher, ctx.actor.workspaceId, 'svc', (work) => void deferred.push(work))
  const lastUsed = async () => {
    await Promise.all(deferred)
    return (await ctx.db.selectFrom('credentials').select('last_used_at').executeTakeFirstOrThrow()).last_used_at
  }
  expect(await lastUsed()).toBeNull()
  await use()
  const first = await lastUsed()
  expect(first).toBeInstanceOf(Date)
  await use()
  expect(deferred).toHaveLength(1)
  await own.shiftClock({ seconds: 61 })
  await use()
  expect((await lastUsed())!.getTime()).toBeGreaterThan(first!.getTime())
})

test('a rotation seals every credential anew, of every workspace, and repeating it changes nothing', async () => {
  const own = await databaseForTest()
  const [a, b] = [await setUp(own), await setUp(own)]
  for (let i = 0; i < 60; i++) for (const ctx of [a, b]) await createCredential(ctx, { ...bearer, slug: `svc-${i}` })
  const rotated = { db: own.db, cipher: createCipher(newRing) }
  expect(await resealCredentials(rotated, 'new')).toEqual({ resealed: 120, failed: [] })
  expect(await resealCredentials(rotated, 'new')).toEqual({ resealed: 0, failed: [] })
  const withoutOld = createCipher(newRing.split(',')[0]!)
  expect((await loadCredential(own.db, withoutOld, b.actor.workspaceId, 'svc-59'))!.fields).toEqual({
    token: 'tok-5c1e7d',
  })
})

test('a credential that no key opens is reported, left as it is, and does not stop the others', async () => {
  const own = await databaseForTest()
  const [lost, kept] = [await setUp(own, `lost:${btoa('z'.repeat(32))}`), await setUp(own)]
  const { id } = await createCredential(lost, bearer)
  await createCredential(kept, bearer)
  expect(await resealCredentials({ db: own.db, cipher: createCipher(newRing) }, 'new')).toEqual({
    resealed: 1,
    failed: [id],
  })
  const row = await own.db.selectFrom('credentials').select('sealed').where('id', '=', id).executeTakeFirstOrThrow()
  expect(sealedBy(row.sealed)).toBe('lost')
})
