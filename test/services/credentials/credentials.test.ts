import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { createCipher, sealedBy } from '../../../src/runtime/cipher.ts'
import { loadCredential } from '../../../src/runtime/credential-reader.ts'
import {
  createCredential,
  deleteCredential,
  getCredential,
  type NewCredential,
} from '../../../src/services/credentials.service.ts'
import { expireCredentialUses } from '../../../src/services/credentials/usage.ts'
import { createTestDatabase, databaseForTest } from '../../support/database.ts'
import { createServiceContext } from '../../support/service-context.ts'

const database = await createTestDatabase()
const oldRing = `old:${btoa('a'.repeat(32))}`
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
    id,
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

test('a row of an older process, all of whose fields are sealed, is shown and used like any other', async () => {
  const ctx = await setUp()
  const fields = { username: 'u', password: 'p' }
  const { id } = await createCredential(ctx, { slug: 'old', kind: 'basic', hosts: ['a.example'], fields })
  await ctx.db.updateTable('credentials').set({ fields: null }).where('id', '=', id).execute()
  expect((await getCredential(ctx, 'old')).values).toEqual({ username: 'u' })
  expect((await loadCredential(ctx.db, ctx.cipher, ctx.actor.workspaceId, 'old'))!.fields).toEqual(fields)
})

test('uses are kept for their days, of a busy credential the latest alone', async () => {
  const own = await databaseForTest()
  const ctx = await setUp(own)
  const { id: credentialId } = await createCredential(ctx, bearer)
  await sql`
    insert into credential_uses (id, workspace_id, credential_id, host, outcome, created_at)
    select gen_random_uuid(), ${ctx.actor.workspaceId}::text::uuid, ${credentialId}::text::uuid, 'h', 'sent',
      app_now() - n * interval '1 minute' from generate_series(1, 10200) n`.execute(own.db)
  const expire = async () => {
    while ((await expireCredentialUses({ db: own.db, config: ctx.config })).more);
    const row = await own.db
      .selectFrom('credential_uses')
      .select(({ fn }) => fn.countAll().as('n'))
      .executeTakeFirstOrThrow()
    return Number(row.n)
  }
  expect(await expire()).toBe(10_000)
  await own.shiftClock({ seconds: 31 * 86_400 })
  expect(await expire()).toBe(0)
})
