import { sql } from 'kysely'
import { expect, onTestFinished, test } from 'vitest'
import type { Runtime } from '../../../src/context.ts'
import { jsonb } from '../../../src/db/json.ts'
import { createApiKey, revokeApiKey, type NewApiKey } from '../../../src/services/api-keys.service.ts'
import { hashKey } from '../../../src/services/identity/key-format.ts'
import { verifyApiKey } from '../../../src/services/identity/verify-key.ts'
import { createTestDatabase, databaseForTest } from '../../support/database.ts'
import { createServiceContext } from '../../support/service-context.ts'

const database = await createTestDatabase()

/** A context whose process clock only this test moves, and whose deferred work can be awaited. */
async function setUp(on = database) {
  const base = await createServiceContext(on)
  let nowMs = 1_000_000
  const deferred: Promise<unknown>[] = []
  // Before the database closes, as at a shutdown.
  onTestFinished(async () => void (await Promise.all(deferred)))
  const ctx = {
    ...base,
    clock: { now: () => new Date(), monotonicMs: () => nowMs },
    defer: (work: Promise<unknown>) => void deferred.push(work),
  }
  const newKey = (input: Partial<NewApiKey> = {}) =>
    createApiKey(
      // Nobody's key, so that none has to be there.
      { ...ctx, actor: { ...ctx.actor, kind: 'system' } },
      { name: 'k', kind: 'server', scopes: ['agents:read'], ...input },
    )
  const advance = (ms: number) => void (nowMs += ms)
  const lastUsed = async (id: string) => {
    await Promise.all(deferred)
    return (await on.db.selectFrom('api_keys').select('last_used_at').where('id', '=', id).executeTakeFirstOrThrow())
      .last_used_at
  }
  return { ctx, newKey, advance, deferred, lastUsed }
}

const refusal = expect.objectContaining({ kind: 'unauthenticated' })
const attempt = async (runtime: Runtime, key: string) => await verifyApiKey(runtime, key)

test('a key says who acts: its workspace, its permissions and its limits', async () => {
  const { ctx, newKey } = await setUp()
  const { id, key } = await newKey({ scopes: ['agents:read', 'recipes:write'], rateLimit: 7 })
  expect(await attempt(ctx, key)).toEqual({
    kind: 'server',
    id,
    actor: {
      kind: 'key',
      id,
      workspaceId: ctx.actor.workspaceId,
      keyHash: (await hashKey(key)).slice(0, 16),
      permissions: new Set(['agents:read', 'recipes:write']),
    },
    workspaceSlug: `w-${ctx.actor.workspaceId}`,
    budget: `key:${id}`,
    rateLimit: 7,
    allowedDomains: [],
    allowsAddress: null,
  })
})

test('only the hash of a key is stored', async () => {
  const { newKey } = await setUp()
  const { id, key } = await newKey()
  const row = await database.db.selectFrom('api_keys').selectAll().where('id', '=', id).executeTakeFirstOrThrow()
  expect(JSON.stringify(row)).not.toContain(key.slice(15))
  expect(row.hash).toMatch(/^[0-9a-f]{64}$/)
})

test('malformed keys are refused without a question to the database', async () => {
  const { ctx } = await setUp()
  const noDatabase = { ...ctx, db: {} as unknown as Runtime['db'] }
  for (const token of [
    '',
    'ak_srv_',
    `ak_srv_${'A'.repeat(64)}`,
    `ak_srv_${'a'.repeat(63)}`,
    `ak_srv_${'a'.repeat(65)}`,
    `ak_adm_${'a'.repeat(64)}`,
    'Bearer x',
    `ak_srv_${'a'.repeat(64)}\n`,
  ]) {
    expect(() => verifyApiKey(noDatabase, token)).toThrow(refusal)
  }
})

test('unknown, revoked and expired keys are refused in the same words', async () => {
  const { ctx, newKey } = await setUp()
  const [revoked, expired] = [await newKey(), await newKey()]
  await revokeApiKey(ctx, revoked.id)
  await database.db
    .updateTable('api_keys')
    .set({ expires_at: sql<Date>`app_now()` })
    .where('id', '=', expired.id)
    .execute()
  const details = new Set<string>()
  for (const token of [`ak_srv_${'0'.repeat(64)}`, revoked.key, expired.key]) {
    const error = await attempt(ctx, token).catch((e: unknown) => e)
    expect(error).toEqual(refusal)
    details.add(String(error))
  }
  expect(details.size).toBe(1)
})

test('a busy key answers without a promise and without a query', async () => {
  const { ctx, newKey } = await setUp()
  const { key } = await newKey()
  const first = await attempt(ctx, key)
  expect(verifyApiKey(ctx, key)).toBe(first)
})

test('revocation in the same process counts at once', async () => {
  const { ctx, newKey } = await setUp()
  const { id, key } = await newKey()
  await attempt(ctx, key)
  await revokeApiKey(ctx, id)
  await expect(attempt(ctx, key)).rejects.toEqual(refusal)
})

test('a look-up that a revocation overtakes is not remembered', async () => {
  const { ctx, newKey } = await setUp()
  const { id, key } = await newKey()
  const pending = verifyApiKey(ctx, key)
  await revokeApiKey(ctx, id)
  await Promise.resolve(pending).catch(() => {})
  await expect(attempt(ctx, key)).rejects.toEqual(refusal)
})

test('revocation in another process counts after ten seconds at the latest', async () => {
  const { ctx, newKey, advance } = await setUp()
  const { id, key } = await newKey()
  await attempt(ctx, key)
  await database.db
    .updateTable('api_keys')
    .set({ revoked_at: sql<Date>`app_now()` })
    .where('id', '=', id)
    .execute()
  advance(9_999)
  expect(verifyApiKey(ctx, key)).not.toBeInstanceOf(Promise)
  advance(1)
  await expect(attempt(ctx, key)).rejects.toEqual(refusal)
})

test("a key expires by the database's clock, and is not remembered past that", async () => {
  const own = await databaseForTest()
  const stopClockAt = (time: string) =>
    sql
      .raw(
        `create or replace function app_now() returns timestamptz language sql stable as
         'select timestamptz ''2030-01-01T${time}Z'''`,
      )
      .execute(own.db)
  const { ctx, newKey, advance } = await setUp(own)
  await stopClockAt('00:00:00')
  const { key } = await newKey({ expiresAt: new Date('2030-01-01T00:01:00Z') })
  await stopClockAt('00:00:57')
  await attempt(ctx, key)
  await stopClockAt('00:01:00')
  advance(2_999)
  expect(verifyApiKey(ctx, key)).not.toBeInstanceOf(Promise)
  advance(1)
  await expect(attempt(ctx, key)).rejects.toEqual(refusal)
})

test('what one process remembers another one does not', async () => {
  const { ctx, newKey } = await setUp()
  const { key } = await newKey()
  await attempt(ctx, key)
  const other = await databaseForTest()
  await expect(attempt({ ...ctx, config: { ...ctx.config }, db: other.db }, key)).rejects.toEqual(refusal)
})

test('on Workers, where no isolate hears of others, a key is asked for each time', async () => {
  const { ctx, newKey } = await setUp()
  const { id, key } = await newKey()
  const isolate: Runtime = { ...ctx, platform: 'workers', config: { ...ctx.config } }
  expect((await attempt(isolate, key)).id).toBe(id)
  await database.db.updateTable('api_keys').set({ revoked_at: new Date() }).where('id', '=', id).execute()
  await expect(attempt(isolate, key)).rejects.toEqual(refusal)
})

test('last use is written at most once a minute, and not in the way of the answer', async () => {
  const own = await databaseForTest()
  const { ctx, newKey, advance, deferred, lastUsed } = await setUp(own)
  const { id, key } = await newKey()
  await attempt(ctx, key)
  const first = await lastUsed(id)
  expect(first).toBeInstanceOf(Date)
  advance(10_000)
  await attempt(ctx, key)
  expect(deferred).toHaveLength(1)
  await own.shiftClock({ seconds: 61 })
  advance(10_000)
  await attempt(ctx, key)
  expect((await lastUsed(id))!.getTime()).toBeGreaterThan(first!.getTime() + 59_000)
})

test('a widget key holds no server permission, and an unknown scope grants nothing, whatever the row says', async () => {
  const { ctx, newKey, advance } = await setUp()
  const [widget, server] = [await newKey({ kind: 'widget', scopes: [] }), await newKey({ scopes: [] })]
  expect((await attempt(ctx, server.key)).actor.permissions.size).toBe(0)
  advance(10_000)
  await database.db
    .updateTable('api_keys')
    .set({ scopes: jsonb(['agents:write', 'everything', '*']) })
    .where('id', 'in', [widget.id, server.id])
    .execute()
  expect([...(await attempt(ctx, widget.key)).actor.permissions]).toEqual([])
  expect([...(await attempt(ctx, server.key)).actor.permissions]).toEqual(['agents:write'])
})
