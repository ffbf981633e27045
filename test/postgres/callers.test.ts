import { sql } from 'kysely'
import { afterAll, expect, test } from 'vitest'
import { jsonb } from '../../src/db/json.ts'
import { anyCaller } from '../../src/lib/any-run.ts'
import { createListenWake, type ListenWake } from '../../src/runtime/node/listen-wake.ts'
import { openPostgres } from '../../src/runtime/node/postgres.ts'
import { hear } from '../runtime/wake.suite.ts'
import { createTestApp, type TestApp } from '../support/app.ts'
import { createTestDatabase } from '../support/database.ts'
import { createIdentityProvider } from '../support/jwks-server.ts'
import { createTestLog } from '../support/log.ts'
import { signInUser } from '../support/user.ts'

// Two processes on one database, as far as they have anything in common: each with connections, caches and a wake of its own.
const database = await createTestDatabase()
const provider = await createIdentityProvider()
const closing: (() => Promise<void>)[] = []

afterAll(async () => {
  for (const close of closing) await close()
  await database.close()
})

async function openReplica(): Promise<{ app: TestApp; wake: ListenWake }> {
  const opened = await openPostgres(database.url!)
  const wake = createListenWake(opened.connect, createTestLog())
  await wake.listening()
  const app = await createTestApp({ database, config: provider.config, runtime: { db: opened.db, wake } })
  closing.push(async () => {
    await wake.close()
    await opened.db.destroy()
  })
  return { app, wake }
}

const a = await openReplica()
const b = await openReplica()

const changed = (id: string) =>
  hear(b.wake).until((all) => all.some((s) => s.kind === 'callers-changed' && s.callerId === id))
const asKey = (replica: { app: TestApp }, key: string) =>
  replica.app.app.request('/api/auth/me', { headers: { 'x-api-key': key } })

test('a key that one process revokes, narrows or rotates is so in the other as soon as that hears of it', async () => {
  const maker = await a.app.signIn()
  const made = (await (await maker.post('/api/api-keys', { name: 'k', scopes: ['api-keys:read'] })).json()) as {
    id: string
    key: string
  }
  const permissions = async () => ((await (await asKey(b, made.key)).json()) as { permissions: string[] }).permissions
  expect(await permissions()).toEqual(['api-keys:read'])

  let heard = changed(made.id)
  await database.db
    .updateTable('api_keys')
    .set({ scopes: jsonb([]) })
    .where('id', '=', made.id)
    .execute()
  await heard
  expect(await permissions()).toEqual([])

  heard = changed(made.id)
  const rotated = await maker.post(`/api/api-keys/${made.id}/rotate`)
  await heard
  const { key } = (await rotated.json()) as { key: string }
  expect([(await asKey(b, made.key)).status, (await asKey(b, key)).status]).toEqual([401, 200])

  heard = changed(made.id)
  expect((await maker.del(`/api/api-keys/${made.id}`)).status).toBe(204)
  await heard
  expect((await asKey(b, key)).status).toBe(401)
})

test('a session, all sessions, a membership and a role that end in one process end in the other', async () => {
  const sub = `user-${crypto.randomUUID()}`
  const iat = Math.floor(Date.now() / 1000) - 5
  const signIn = (sid: string) => signInUser(a.app, provider, { claims: { sub, sid, iat } })
  const [one, two] = [await signIn('one'), await signIn('two')]
  const { user, workspace } = await one.me()
  const onB = (token: string, headers = {}) =>
    b.app.app.request('/api/agents', { headers: { authorization: `Bearer ${token}`, ...headers } })
  expect([(await onB(one.token)).status, (await onB(two.token)).status]).toEqual([200, 200])

  let heard = changed(user.id)
  expect((await one.post('/api/auth/sign-out')).status).toBe(200)
  await heard
  expect([(await onB(one.token)).status, (await onB(two.token)).status]).toEqual([401, 200])

  heard = changed(user.id)
  const membership = database.db.updateTable('memberships').where('user_id', '=', user.id)
  await membership.set({ role: 'reader-of-nothing' as never }).execute()
  await heard
  expect((await onB(two.token)).status).toBe(403)

  const roles = { workspace_id: workspace.id, slug: 'reader-of-nothing', name: 'Reader' }
  await database.db
    .insertInto('roles')
    .values({ ...roles, id: crypto.randomUUID(), permissions: jsonb(['agents:read']) })
    .execute()
  heard = changed(user.id)
  await membership.set({ role: 'reader-of-nothing' as never }).execute()
  await heard
  expect((await onB(two.token)).status).toBe(200)
  heard = changed(workspace.id)
  await database.db
    .updateTable('roles')
    .set({ permissions: jsonb([]) })
    .where('slug', '=', roles.slug)
    .execute()
  await heard
  expect((await onB(two.token)).status).toBe(403)

  await membership.set({ role: 'owner' }).execute()
  const three = await signIn('three')
  expect((await onB(three.token)).status).toBe(200)
  heard = changed(user.id)
  expect((await three.post('/api/auth/sign-out-everywhere')).status).toBe(200)
  await heard
  expect((await onB(three.token)).status).toBe(401)
})

test('whoever may have missed a change forgets everybody', async () => {
  const client = await a.app.signIn()
  expect((await asKey(b, client.key)).status).toBe(200)
  // Past the trigger, as where its notification finds nobody listening.
  await sql`alter table api_keys disable trigger api_keys_changed`.execute(database.db)
  await database.db.updateTable('api_keys').set({ revoked_at: new Date() }).where('id', '=', client.keyId).execute()
  await sql`alter table api_keys enable trigger api_keys_changed`.execute(database.db)
  expect((await asKey(b, client.key)).status).toBe(200)
  const heard = changed(anyCaller)
  await sql`select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and query = 'listen automatos_wake'`.execute(database.db)
  await heard
  expect((await asKey(b, client.key)).status).toBe(401)
})
