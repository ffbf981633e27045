import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { createCipher, sealedBy } from '../../../src/runtime/cipher.ts'
import { loadCredential } from '../../../src/runtime/credential-reader.ts'
import { auditService } from '../../../src/services/audit/tick.ts'
import { verifyAuditLogs } from '../../../src/services/audit/verify.ts'
import { createCredential } from '../../../src/services/credentials.service.ts'
import { resealAll } from '../../../src/services/sealing/reseal.ts'
import { sealedColumns } from '../../../src/services/sealing/sealed-columns.ts'
import { createTestApp } from '../../support/app.ts'
import { databaseForTest } from '../../support/database.ts'
import { loopbackServer } from '../../support/loopback-server.ts'
import { createServiceContext } from '../../support/service-context.ts'

const oldRing = `old:${btoa('a'.repeat(32))}`
const newRing = `new:${btoa('b'.repeat(32))},${oldRing}`
const bearer = { slug: 'svc', hosts: ['api.example.com'], kind: 'bearer', fields: { token: 'tok-5c1e7d' } }

async function setUp(database: Awaited<ReturnType<typeof databaseForTest>>, ring = oldRing) {
  return { ...(await createServiceContext(database)), cipher: createCipher(ring) }
}

test('a rotation seals everything anew, of every workspace, and repeating it changes nothing', async () => {
  const own = await databaseForTest()
  const [a, b] = [await setUp(own), await setUp(own)]
  for (let i = 0; i < 60; i++) for (const ctx of [a, b]) await createCredential(ctx, { ...bearer, slug: `svc-${i}` })
  const rotated = { db: own.db, cipher: createCipher(newRing) }
  expect(await resealAll(rotated, 'new')).toEqual({ resealed: 120, failed: [] })
  expect(await resealAll(rotated, 'new')).toEqual({ resealed: 0, failed: [] })
  const withoutOld = createCipher(newRing.split(',')[0]!)
  expect((await loadCredential(own.db, withoutOld, b.actor.workspaceId, 'svc-59'))!.fields).toEqual({
    token: 'tok-5c1e7d',
  })
})

test('what no key opens is reported, left as it is, and does not stop the others', async () => {
  const own = await databaseForTest()
  const [lost, kept] = [await setUp(own, `lost:${btoa('z'.repeat(32))}`), await setUp(own)]
  const { id } = await createCredential(lost, bearer)
  await createCredential(kept, bearer)
  expect(await resealAll({ db: own.db, cipher: createCipher(newRing) }, 'new')).toEqual({
    resealed: 1,
    failed: [`credentials.sealed ${id}`],
  })
  const row = await own.db.selectFrom('credentials').select('sealed').where('id', '=', id).executeTakeFirstOrThrow()
  expect(sealedBy(row.sealed)).toBe('lost')
})

test('a text that is written between reading and replacing it stays as it was written', async () => {
  const own = await databaseForTest()
  const ctx = await setUp(own)
  const { id } = await createCredential(ctx, bearer)
  const cipher = createCipher(newRing)
  const written = await cipher.seal('{"token":"newer"}', `credentials:${ctx.actor.workspaceId}:${id}`)
  const racing = {
    ...cipher,
    async seal(plain: string, context: string) {
      await own.db.updateTable('credentials').set({ sealed: written }).where('id', '=', id).execute()
      return cipher.seal(plain, context)
    },
  }
  expect(await resealAll({ db: own.db, cipher: racing }, 'new')).toEqual({ resealed: 0, failed: [] })
  expect((await loadCredential(own.db, cipher, ctx.actor.workspaceId, 'svc'))!.fields).toEqual({ token: 'newer' })
})

test('checkpoints of the audit log are signed anew, and one that nobody of the ring has signed stays forged', async () => {
  const own = await databaseForTest()
  const [kept, forged] = [await setUp(own), await setUp(own)]
  for (const ctx of [kept, forged]) await createCredential(ctx, bearer)
  await auditService.tick({ ...kept, db: own.db })
  await own.db
    .updateTable('audit_seals')
    .set({ signature: `old.${'A'.repeat(43)}` })
    .where('workspace_id', '=', forged.actor.workspaceId)
    .execute()
  const rotated = { db: own.engine, cipher: createCipher(newRing) }
  const failed = [`audit_seals.signature ${forged.actor.workspaceId} checkpoint 1`]
  expect(await resealAll(rotated, 'new')).toEqual({ resealed: 3, failed })
  expect(await resealAll(rotated, 'new')).toEqual({ resealed: 0, failed })
  const cipher = createCipher(newRing.split(',')[0]!)
  expect(await verifyAuditLogs({ ...kept, cipher }, { limit: 10 })).toMatchObject({ valid: true, signed_seq: 1 })
  expect(await verifyAuditLogs({ ...forged, cipher }, { limit: 10 })).toMatchObject({ valid: false })
})

const known = new Set(sealedColumns.map(({ table, column }) => `${table}.${column}`))

test('every column that holds a sealed text is in the list, and every column of the list is sealed anew', async () => {
  const app = await createTestApp()
  const { port } = await loopbackServer((_, response) => response.end('{"access_token":"t","expires_in":3600}'))
  const local = `http://127.0.0.1:${port}`
  const made = async (method: 'post' | 'put', path: string, body: unknown, headers = {}) => {
    const response = await app[method](path, body, headers)
    expect(response.ok, await response.clone().text()).toBe(true)
    return (await response.json()) as { id: string }
  }
  await made('post', '/api/credentials', bearer, { 'idempotency-key': 'one' })
  await made('post', '/api/credentials', {
    slug: 'client',
    kind: 'oauth2_client_credentials',
    hosts: [`127.0.0.1:${port}`],
    fields: { token_url: local, client_id: 'c', client_secret: 's' },
  })
  await app.runtime.egress(new Request(local), { workspaceId: app.workspaceId, credential: 'client' })
  await made('put', '/api/user-api-keys/openai-compatible', { api_key: 'sk-local-1234', base_url: local })
  const { id: recipe_id } = await made('post', '/api/workflow-recipes', {
    name: 'One',
    steps: [{ id: 'one', kind: 'transform', value: 1 }],
  })
  for (const [path, body] of [
    ['/api/webhooks', { recipe_id }],
    ['/api/webhooks/subscriptions', { url: 'https://hooks.example.com/' }],
  ] as const) {
    const { id } = await made('post', path, body)
    await made('post', `${path}/${id}/rotate-secret`, {})
  }

  const found = async (keyId: string) => {
    const { rows: columns } = await sql<{ table_name: string; column_name: string }>`
      select table_name, column_name from information_schema.columns
      where table_schema = 'public' and data_type in ('text', 'character varying')`.execute(app.db)
    const holding: string[] = []
    for (const { table_name, column_name } of columns) {
      const { rows } = await sql`select 1 from ${sql.table(table_name)}
        where ${sql.ref(column_name)} ~ ${`^v1[.]${keyId}[.][A-Za-z0-9_-]+[.][A-Za-z0-9_-]+$`} limit 1`.execute(app.db)
      if (rows.length > 0) holding.push(`${table_name}.${column_name}`)
    }
    return holding.toSorted()
  }
  expect(await found('test')).toEqual([...known].toSorted())
  const cipher = createCipher(`next:${btoa('1'.repeat(32))},test:${btoa('0'.repeat(32))}`)
  expect((await resealAll({ db: app.db, cipher }, 'next')).failed).toEqual([])
  expect(await found('test')).toEqual([])
  expect(await found('next')).toEqual([...known].toSorted())
})

/** Where the product seals, and where that goes. A cache forgets by itself. */
const sealers: Record<string, string[]> = {
  'services/credentials/write.ts': ['credentials.sealed'],
  'services/credentials/authorize.ts': ['credentials.sealed_tokens'],
  'runtime/oauth-tokens.ts': ['credentials.sealed_tokens'],
  'services/user-api-keys.service.ts': ['user_api_keys.sealed'],
  'services/subscriptions/secrets.ts': [
    'webhooks.secret',
    'webhooks.previous_secret',
    'webhook_subscriptions.secret',
    'webhook_subscriptions.previous_secret',
  ],
  'services/idempotency/answer-once.ts': ['idempotency_keys.answer'],
  'services/identity/key-document.ts': [],
  'services/sealing/reseal.ts': [...known],
}

/** Files of the product in which the pattern is found. */
const sourcesWith = (pattern: RegExp): string[] => {
  const source = join(import.meta.dirname, '../../../src')
  return readdirSync(source, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => pattern.test(readFileSync(path, 'utf8')))
    .map((path) => relative(source, path))
    .toSorted()
}

test('nothing is sealed into a column that the list does not have', () => {
  const sealing = sourcesWith(/\bseal\(/).filter((path) => path !== 'context.ts' && path !== 'runtime/cipher.ts')
  expect(sealing).toEqual(Object.keys(sealers).toSorted())
  expect(new Set(Object.values(sealers).flat())).toEqual(known)
})

/** Where something is signed that is kept as long as the ring may change, and where a rotation signs it anew. */
const signers: Record<string, string | null> = {
  'services/audit/seals.ts': 'audit_seals.signature',
  // Good for a while.
  'services/signing/tokens.ts': null,
  'services/credentials/authorize.ts': null,
  'services/idempotency/answer-once.ts': null,
}

test('nothing else is signed than what a rotation knows of', () => {
  expect(sourcesWith(/\bcipher\.sign\(/)).toEqual(Object.keys(signers).toSorted())
})
