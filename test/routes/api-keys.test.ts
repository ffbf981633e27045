import { expect, test } from 'vitest'
import { rolePermissions } from '../../src/lib/permissions.ts'
import { createMemoryLimiter } from '../../src/runtime/memory-limiter.ts'
import { systemClock } from '../../src/runtime/clock.ts'
import { callerCacheOf } from '../../src/services/identity/caller-cache.ts'
import { createTestApp } from '../support/app.ts'

const app = await createTestApp()
const { signIn } = app
const json = async (response: Response) => (await response.json()) as { [key: string]: any }
const in2099 = '2099-01-01T00:00:00.000Z'

test('a key is made, shown once, and works', async () => {
  const client = await signIn()
  const response = await client.post('/api/api-keys', {
    name: 'ci',
    kind: 'server',
    scopes: ['agents:read', 'api-keys:read'],
    expires_at: in2099,
    rate_limit: 100,
  })
  expect(response.status).toBe(201)
  expect(response.headers.get('cache-control')).toBe('no-store')
  const { key, ...made } = await json(response)
  expect(key).toMatch(/^ak_srv_[0-9a-f]{64}$/)
  expect(response.headers.get('location')).toBe(`/api/api-keys/${made['id']}`)
  expect(made).toMatchObject({
    name: 'ci',
    kind: 'server',
    prefix: String(key).slice(0, 15),
    scopes: ['agents:read', 'api-keys:read'],
    rate_limit: 100,
    expires_at: in2099,
    revoked_at: null,
    created_by: `key:${client.keyId}`,
  })

  const read = await json(await client.get(`/api/api-keys/${made['id']}`, { authorization: `Bearer ${key}` }))
  expect(read['id']).toBe(made['id'])
  const list = await client.get('/api/api-keys')
  const text = await list.text()
  expect(text).toContain(made['id'])
  expect(text).not.toContain(String(key).slice(15))
  expect(text).not.toContain('hash')
})

test('a role is written out as its permissions', async () => {
  const made = await json(await (await signIn()).post('/api/api-keys', { name: 'viewer', scopes: 'viewer' }))
  expect(made['scopes']).toEqual(rolePermissions.viewer)
})

test('a key cannot make one that holds more than itself', async () => {
  const maker = await signIn({ scopes: ['api-keys:manage', 'agents:read'] })
  for (const scopes of [['agents:write'], ['agents:read', 'agents:write'], 'viewer', 'owner']) {
    const response = await maker.post('/api/api-keys', { name: 'more', scopes })
    expect(response.status).toBe(403)
    expect((await json(response))['detail']).toContain('more than its maker')
  }
  expect((await maker.post('/api/api-keys', { name: 'same', scopes: ['agents:read'] })).status).toBe(201)
})

test('a key without scopes may do nothing but ask what it may do', async () => {
  const client = await signIn()
  for (const body of [{ name: 'none' }, { name: 'none', scopes: [] }]) {
    const { key } = await json(await client.post('/api/api-keys', body))
    const as = { authorization: `Bearer ${key}` }
    expect((await client.get('/api/api-keys', as)).status).toBe(403)
    expect(await json(await client.get('/api/permissions', as))).toMatchObject({ effective: [] })
  }
})

test('a widget key takes domains and no permissions', async () => {
  const client = await signIn()
  const made = await json(
    await client.post('/api/api-keys', {
      name: 'shop',
      kind: 'widget',
      allowed_domains: ['Shop.example', '*.shop.example:8443'],
    }),
  )
  expect(made['key']).toMatch(/^ak_pub_/)
  expect(made['allowed_domains']).toEqual(['shop.example', '*.shop.example:8443'])
  const scoped = await client.post('/api/api-keys', { name: 'shop', kind: 'widget', scopes: ['agents:read'] })
  expect([scoped.status, (await json(scoped))['errors'][0].pointer]).toEqual([422, '/scopes'])
})

test('every fault is told at once', async () => {
  const client = await signIn()
  const shape = await json(
    await client.post('/api/api-keys', {
      name: ' ',
      kind: 'root',
      scopes: ['all'],
      expires_at: 'tomorrow',
      rate_limit: 0,
      more: 1,
    }),
  )
  expect(shape['errors'].map((fault: { pointer: string }) => fault.pointer).toSorted()).toEqual([
    '/expires_at',
    '/kind',
    '/more',
    '/name',
    '/rate_limit',
    '/scopes',
  ])
  const rules = await json(
    await client.post('/api/api-keys', {
      name: 'x',
      expires_at: '2001-01-01T00:00:00Z',
      allowed_domains: ['https://x.example', 'ok.example'],
    }),
  )
  expect(rules['errors'].map((fault: { pointer: string }) => fault.pointer)).toEqual([
    '/allowed_domains/0',
    '/allowed_domains',
    '/expires_at',
  ])
})

test('a revoked key is refused at once, stays in the list, and revoking it again changes nothing', async () => {
  const client = await signIn()
  const { id, key } = await json(await client.post('/api/api-keys', { name: 'k', scopes: ['api-keys:read'] }))
  const as = { authorization: `Bearer ${key}` }
  expect((await client.get('/api/api-keys', as)).status).toBe(200)
  expect((await client.del(`/api/api-keys/${id}`)).status).toBe(204)
  expect((await client.get('/api/api-keys', as)).status).toBe(401)
  const { revoked_at } = await json(await client.get(`/api/api-keys/${id}`))
  expect(revoked_at).toMatch(/Z$/)
  expect((await client.del(`/api/api-keys/${id}`)).status).toBe(204)
  expect((await json(await client.get(`/api/api-keys/${id}`)))['revoked_at']).toBe(revoked_at)
})

test("another workspace's key answers as one that never existed, and is not revoked", async () => {
  const [mine, theirs] = [await signIn(), await signIn()]
  const missing = '01939f3c-5c2a-7b3e-9d1a-2f6b8c4d5e6f'
  for (const id of [theirs.keyId, missing, 'not-an-id']) {
    for (const response of [await mine.get(`/api/api-keys/${id}`), await mine.del(`/api/api-keys/${id}`)]) {
      expect(response.status).toBe(404)
      expect((await json(response))['detail']).toBe(`The API key ${id} does not exist.`)
    }
  }
  expect((await theirs.get('/api/api-keys')).status).toBe(200)
  expect(await (await mine.get('/api/api-keys')).text()).not.toContain(theirs.keyId)
})

test('the list is paged, newest first, without gap or repeat', async () => {
  const client = await signIn()
  for (let i = 0; i < 4; i++) await client.post('/api/api-keys', { name: `k${i}` })
  const seen: string[] = []
  let cursor: string | null = null
  do {
    const page: { items: { name: string }[]; next_cursor: string | null } = (await (
      await client.get(`/api/api-keys?limit=2${cursor ? `&cursor=${cursor}` : ''}`)
    ).json()) as never
    seen.push(...page.items.map(({ name }) => name))
    cursor = page.next_cursor
  } while (cursor)
  expect(seen).toEqual(['k3', 'k2', 'k1', 'k0', 'A key'])
})

test('reading needs api-keys:read, making and revoking api-keys:manage; a stranger gets neither', async () => {
  const reader = await signIn({ scopes: ['api-keys:read'] })
  expect((await reader.get('/api/api-keys')).status).toBe(200)
  expect((await reader.post('/api/api-keys', { name: 'x' })).status).toBe(403)
  expect((await reader.del(`/api/api-keys/${reader.keyId}`)).status).toBe(403)
  const nobody = await signIn({ scopes: [] })
  expect((await nobody.get('/api/api-keys')).status).toBe(403)
  expect((await reader.get('/api/api-keys', { authorization: `Bearer ak_srv_${'0'.repeat(64)}` })).status).toBe(401)
  expect((await (await signIn({ kind: 'widget' })).get('/api/api-keys')).status).toBe(403)
})

test('a key that is bound to addresses is refused elsewhere, which costs the other address', async () => {
  const limited = await createTestApp({
    database: app.database,
    config: {
      rateLimitDefault: { limit: 3, windowSeconds: 60 },
      rateLimitAuthenticated: { limit: 3, windowSeconds: 60 },
    },
    runtime: { limiter: createMemoryLimiter(systemClock) },
  })
  const made = await json(
    await limited.post('/api/api-keys', {
      name: 'office',
      scopes: ['agents:read'],
      allowed_ips: ['203.0.113.9/24', '2001:db8::1', '203.0.113.0/24'],
    }),
  )
  expect(made['allowed_ips']).toEqual(['203.0.113.0/24', '2001:db8::1/128'])
  expect(await json(await limited.get(`/api/api-keys/${made['id']}`))).toMatchObject({
    allowed_ips: made['allowed_ips'],
  })
  const from = async (address: string, key: string = made['key']) => {
    const proxy = { incoming: { socket: { remoteAddress: '10.0.0.1' } } }
    const headers = { 'x-api-key': key, 'x-forwarded-for': address }
    return (await limited.app.request('/api/agents', { headers }, proxy)).status
  }
  const elsewhere = []
  for (let i = 0; i < 4; i++) elsewhere.push(await from('198.51.100.1'))
  expect(elsewhere).toEqual([403, 403, 403, 429])
  expect([await from('203.0.113.200'), await from('2001:db8::1'), await from('::ffff:203.0.113.1')]).toEqual([
    200, 200, 200,
  ])
  expect((await limited.app.request('/api/agents', { headers: { 'x-api-key': made['key'] } })).status).toBe(403)
})

test('what is no address and no range is refused', async () => {
  const response = await (
    await signIn()
  ).post('/api/api-keys', { name: 'x', allowed_ips: ['10.0.0.0/8', 'office', '1.2.3'] })
  expect(response.status).toBe(422)
  const pointers = (await json(response))['errors'].map(({ pointer }: { pointer: string }) => pointer)
  expect(pointers).toEqual(['/allowed_ips/1', '/allowed_ips/2'])
})

const make = async (client: { post(path: string, body?: unknown): Promise<Response> }, body: object) => {
  const response = await client.post('/api/api-keys', { name: 'k', ...body })
  const made = await json(response)
  expect(response.status, JSON.stringify(made)).toBe(201)
  return made
}
const statusWith = async (key: string, path = '/api/auth/me') =>
  (await app.app.request(path, { headers: { 'x-api-key': key } })).status

test('a key gets a new text; the old one is good for the overlap, and a second rotation ends it', async () => {
  const client = await signIn()
  const made = await make(client, { scopes: ['agents:read'], allowed_ips: [] })
  const rotate = async (body?: object) => json(await client.post(`/api/api-keys/${made['id']}/rotate`, body))
  const second = await rotate({ overlap_seconds: 60 })
  expect(second).toMatchObject({ id: made['id'], scopes: ['agents:read'], name: 'k', created_by: made['created_by'] })
  expect(second['prefix']).toBe(String(second['key']).slice(0, 15))
  expect(Date.parse(second['previous_valid_until']) - Date.parse(second['rotated_at'])).toBe(60_000)
  expect([await statusWith(made['key']), await statusWith(second['key'])]).toEqual([200, 200])

  const third = await rotate({ overlap_seconds: 3_600 })
  const all = [made, second, third]
  const statuses = async () => Promise.all(all.map(({ key }) => statusWith(key)))
  expect(await statuses()).toEqual([401, 200, 200])
  await app.db
    .updateTable('api_keys')
    .set({ previous_valid_until: new Date(Date.now() - 1_000) })
    .where('id', '=', made['id'])
    .execute()
  callerCacheOf(app.runtime).forget(made['id'])
  expect(await statuses()).toEqual([401, 401, 200])
  all.push(await rotate())
  expect(await statuses()).toEqual([401, 401, 401, 200])
  expect((await client.del(`/api/api-keys/${made['id']}`)).status).toBe(204)
  expect(await statuses()).toEqual([401, 401, 401, 401])
  expect((await client.post(`/api/api-keys/${made['id']}/rotate`)).status).toBe(409)
})

test('the old text is remembered no longer than it is good', async () => {
  const client = await signIn()
  const made = await make(client, {})
  let nowMs = performance.now()
  const clock = { ...systemClock, monotonicMs: () => nowMs }
  const other = await createTestApp({ database: app.database, runtime: { clock } })
  await client.post(`/api/api-keys/${made['id']}/rotate`, { overlap_seconds: 5 })
  const status = async () => (await other.app.request('/api/auth/me', { headers: { 'x-api-key': made['key'] } })).status
  expect(await status()).toBe(200)
  await app.database.shiftClock({ seconds: 6 })
  try {
    nowMs += 4_000
    expect(await status()).toBe(200)
    nowMs += 1_001
    expect(await status()).toBe(401)
  } finally {
    await app.database.shiftClock({ seconds: 0 })
  }
})

test('the same rotation sent twice rotates once', async () => {
  const client = await signIn()
  const { id } = await make(client, {})
  const send = () => client.post(`/api/api-keys/${id}/rotate`, { overlap_seconds: 60 }, { 'idempotency-key': 'r1' })
  const [one, two] = [await json(await send()), await json(await send())]
  expect(two['key']).toBe(one['key'])
  expect(await statusWith(one['key'])).toBe(200)
})

test('whoever rotates a key gets to know it, so nobody rotates one that is stronger', async () => {
  const owner = await signIn()
  const at = { workspace: owner.workspaceId }
  const weak = await signIn({ ...at, scopes: ['api-keys:manage', 'agents:read'] })
  const strong = await make(owner, { scopes: ['agents:read', 'agents:write'] })
  const alike = await make(owner, { scopes: ['agents:read'] })
  const rotate = (client: typeof weak, id: string) => client.post(`/api/api-keys/${id}/rotate`)
  expect((await rotate(weak, strong['id'])).status).toBe(403)
  expect((await rotate(weak, alike['id'])).status).toBe(200)
  expect((await rotate(weak, weak.keyId)).status).toBe(200)
  expect(await statusWith(strong['key'])).toBe(200)
  const bound = await make(owner, { scopes: ['api-keys:manage', 'agents:read'], expires_at: in2099 })
  const asBound = (id: string) =>
    app.app.request(`/api/api-keys/${id}/rotate`, { method: 'POST', headers: { 'x-api-key': bound['key'] } })
  expect((await asBound(alike['id'])).status).toBe(403)
  expect((await asBound(bound['id'])).status).toBe(200)

  // The key of a person is that person.
  const user_id = crypto.randomUUID()
  const person = { id: user_id, issuer: 'https://id.example', subject: user_id, claims_issued_at: new Date() }
  await app.db.insertInto('users').values(person).execute()
  await app.db.updateTable('api_keys').set({ user_id }).where('id', '=', alike['id']).execute()
  expect((await rotate(owner, alike['id'])).status).toBe(403)
})

test('a key is changed in the state that was seen; it may be narrowed by anybody and widened by nobody weaker', async () => {
  const owner = await signIn()
  const made = await make(owner, { scopes: ['agents:read'], rate_limit: 50, allowed_ips: ['203.0.113.0/24'] })
  const path = `/api/api-keys/${made['id']}`
  const read = await owner.get(path)
  const changed = await owner.patch(path, { name: 'new', rate_limit: 20 }, { 'if-match': read.headers.get('etag')! })
  expect([changed.status, await json(changed)]).toMatchObject([
    200,
    { name: 'new', rate_limit: 20, allowed_ips: ['203.0.113.0/24'], scopes: ['agents:read'] },
  ])
  const stale = await owner.patch(path, { name: 'x' }, { 'if-match': read.headers.get('etag')! })
  expect(stale.status).toBe(412)
  expect((await owner.patch(path, { scopes: ['agents:write'] })).status).toBe(422)
  expect((await owner.patch(path, { allowed_domains: ['shop.example'] })).status).toBe(422)

  const bound = await signIn({ workspace: owner.workspaceId, scopes: ['api-keys:manage'], rateLimit: 30 })
  await app.db
    .updateTable('api_keys')
    .set({ allowed_ips: '["127.0.0.0/8"]' as never, expires_at: new Date(in2099) })
    .where('id', '=', bound.keyId)
    .execute()
  const local = { incoming: { socket: { remoteAddress: '127.0.0.1' } } }
  const asBound = async (body: object) =>
    json(
      await app.app.request(
        path,
        {
          method: 'PATCH',
          headers: { 'x-api-key': bound.key, 'content-type': 'application/json' },
          body: JSON.stringify(body),
        },
        local,
      ),
    )
  const refused = await asBound({ rate_limit: 40, allowed_ips: [], expires_at: null })
  // It never ended and ends never: that is no gain. The other two would be.
  expect([refused['status'], refused['errors'].map(({ pointer }: { pointer: string }) => pointer)]).toEqual([
    403,
    ['/rate_limit', '/allowed_ips'],
  ])
  expect(await asBound({ rate_limit: 30, allowed_ips: ['203.0.113.7'] })).toMatchObject({
    rate_limit: 30,
    allowed_ips: ['203.0.113.7/32'],
  })
  const stranger = await signIn()
  expect((await stranger.patch(path, { name: 'mine' })).status).toBe(404)
  await owner.del(path)
  expect((await owner.patch(path, { name: 'late' })).status).toBe(409)
})

test('what a key hands on without saying so is what it has itself', async () => {
  const owner = await signIn()
  const bounded = { scopes: ['api-keys:manage'], expires_at: in2099, rate_limit: 70, allowed_ips: ['127.0.0.1'] }
  const maker = await make(owner, bounded)
  const local = { incoming: { socket: { remoteAddress: '127.0.0.1' } } }
  const headers = { 'x-api-key': maker['key'], 'content-type': 'application/json' }
  const ask = async (body: object) =>
    json(await app.app.request('/api/api-keys', { method: 'POST', headers, body: JSON.stringify(body) }, local))
  expect(await ask({ name: 'x' })).toMatchObject({ expires_at: in2099, rate_limit: 70, allowed_ips: ['127.0.0.1/32'] })
  const refused = await ask({ name: 'x', expires_at: null, rate_limit: null, allowed_ips: [] })
  expect(refused['status']).toBe(403)
  expect(refused['errors'].map(({ pointer }: { pointer: string }) => pointer)).toEqual([
    '/expires_at',
    '/rate_limit',
    '/allowed_ips',
  ])
})

test('a role of the workspace is written out too, and one of another workspace is none', async () => {
  const owner = await signIn()
  await app.db
    .insertInto('roles')
    .values({
      id: crypto.randomUUID(),
      workspace_id: owner.workspaceId,
      slug: 'reader',
      name: 'Reader',
      permissions: '["agents:read"]' as never,
    })
    .execute()
  expect(await make(owner, { scopes: 'reader' })).toMatchObject({ scopes: ['agents:read'] })
  for (const client of [await signIn(), await signIn()]) {
    const response = await client.post('/api/api-keys', { name: 'k', scopes: 'reader' })
    expect([response.status, (await json(response))['errors'][0].pointer]).toEqual([422, '/scopes'])
  }
})

test('a revoked key takes the keys that it has made along where that is asked for, and no others', async () => {
  const owner = await signIn()
  const scopes = ['api-keys:manage']
  const maker = await make(owner, { scopes })
  const by = async (key: string) =>
    make({ post: (path, body) => owner.post(path, body, { authorization: `Bearer ${key}` }) }, { scopes })
  const child = await by(maker['key'])
  const grandchild = await by(child['key'])
  const bystander = await make(owner, { scopes })
  const statuses = async () => Promise.all([maker, child, grandchild, bystander].map(({ key }) => statusWith(key)))
  const other = await by(maker['key'])
  expect((await owner.del(`/api/api-keys/${other['id']}`)).status).toBe(204)
  expect(await statuses()).toEqual([200, 200, 200, 200])
  expect((await owner.del(`/api/api-keys/${maker['id']}?with_made=true`)).status).toBe(204)
  expect(await statuses()).toEqual([401, 401, 401, 200])
})

/** A key of a member of the workspace, as an invitation makes one. */
async function personal(workspaceId: string, role: string) {
  const id = crypto.randomUUID()
  const user = { id, issuer: 'https://id.example', subject: id, claims_issued_at: new Date() }
  await app.db.insertInto('users').values(user).execute()
  await app.db.insertInto('memberships').values({ workspace_id: workspaceId, user_id: id, role }).execute()
  const client = await signIn({ workspace: workspaceId, scopes: [] })
  await app.db.updateTable('api_keys').set({ user_id: id }).where('id', '=', client.keyId).execute()
  return { ...client, userId: id }
}

test("in the operator's workspace too nobody rotates a key that is stronger", async () => {
  const owner = await signIn()
  await app.db.updateTable('workspaces').set({ is_operator: true }).where('id', '=', owner.workspaceId).execute()
  const but = (prefix: string) => rolePermissions.owner.filter((permission) => !permission.startsWith(prefix))
  const helper = await signIn({ workspace: owner.workspaceId, scopes: but('system:') })
  const strong = await signIn({ workspace: owner.workspaceId, scopes: ['system:manage'] })
  const refused = await helper.post(`/api/api-keys/${strong.keyId}/rotate`)
  expect([refused.status, (await json(refused))['detail']]).toEqual([403, expect.stringContaining('system:manage')])
  expect(await statusWith(strong.key)).toBe(200)
  // What a key was given elsewhere counts for nothing there, so it keeps nobody from rotating it.
  const elsewhere = await signIn({ scopes: but('system:') })
  const old = await signIn({ workspace: elsewhere.workspaceId })
  expect((await elsewhere.post(`/api/api-keys/${old.keyId}/rotate`)).status).toBe(200)
})

test('whom a revoked key, or one that it made, has invited is invited no more', async () => {
  const owner = await signIn()
  const scopes = ['api-keys:manage', 'members:manage', ...rolePermissions.viewer]
  const maker = await make(owner, { scopes })
  const as = (key: string) => ({ authorization: `Bearer ${key}` })
  const child = await make({ post: (path, body) => owner.post(path, body, as(maker['key'])) }, { scopes })
  const invite = async (key: string) => {
    const body = { email: `${crypto.randomUUID()}@example.com`, role: 'viewer', delivery: 'token' }
    const response = await owner.post('/api/workspaces/current/team/invitations', body, as(key))
    return [response.status, await json(response)] as const
  }
  const invited = [await invite(maker['key']), await invite(child['key']), await invite(owner.key)]
  expect(invited.map(([status]) => status)).toEqual([201, 201, 201])
  const states = () =>
    Promise.all(
      invited.map(
        async ([, { id }]) => (await json(await owner.get(`/api/workspaces/current/team/invitations/${id}`)))['state'],
      ),
    )
  expect((await owner.del(`/api/api-keys/${maker['id']}`)).status).toBe(204)
  expect(await states()).toEqual(['revoked', 'pending', 'pending'])
  expect((await owner.del(`/api/api-keys/${maker['id']}?with_made=true`)).status).toBe(204)
  expect(await states()).toEqual(['revoked', 'revoked', 'pending'])
})

test('nobody weaker ends or narrows the key of a person', async () => {
  const owner = await signIn()
  const boss = await personal(owner.workspaceId, 'owner')
  const viewer = await personal(owner.workspaceId, 'viewer')
  const weak = await signIn({ workspace: owner.workspaceId, scopes: ['api-keys:manage', ...rolePermissions.viewer] })
  const [ofBoss, ofViewer] = [`/api/api-keys/${boss.keyId}`, `/api/api-keys/${viewer.keyId}`]
  const ends = { expires_at: in2099 }
  expect([(await weak.del(ofBoss)).status, (await weak.patch(ofBoss, ends)).status]).toEqual([403, 403])
  expect(await statusWith(boss.key)).toBe(200)
  expect([(await weak.patch(ofViewer, ends)).status, (await weak.del(ofViewer)).status]).toEqual([200, 204])
  expect([(await boss.patch(ofBoss, ends)).status, (await owner.del(ofBoss)).status]).toEqual([200, 204])
})

test('a person rotates and revokes the own key without a permission, and no other key', async () => {
  const owner = await signIn()
  const me = await personal(owner.workspaceId, 'viewer')
  for (const id of [owner.keyId, crypto.randomUUID(), 'nonsense']) {
    expect((await me.post(`/api/api-keys/${id}/rotate`)).status).toBe(403)
    expect((await me.del(`/api/api-keys/${id}`)).status).toBe(403)
  }
  const path = `/api/api-keys/${me.keyId}`
  const rotated = await me.post(`${path}/rotate`)
  expect(rotated.status).toBe(200)
  const now = { authorization: `Bearer ${(await json(rotated))['key']}` }
  expect([await statusWith(me.key), (await me.patch(path, { name: 'x' }, now)).status]).toEqual([401, 403])
  expect((await me.del(`${path}?with_made=true`, now)).status).toBe(403)
  expect((await me.del(path, now)).status).toBe(204)
  expect((await me.get('/api/auth/me', now)).status).toBe(401)
})

test('an expired key stays so', async () => {
  const client = await signIn()
  const { id, key } = await make(client, { scopes: [] })
  await app.db
    .updateTable('api_keys')
    .set({ expires_at: new Date(Date.now() - 1_000) })
    .where('id', '=', id)
    .execute()
  for (const body of [{ expires_at: null }, { name: 'late' }]) {
    expect((await client.patch(`/api/api-keys/${id}`, body)).status).toBe(409)
  }
  expect(await statusWith(key)).toBe(401)
})
