import { expect, test } from 'vitest'
import { rolePermissions } from '../../src/lib/permissions.ts'
import { createMemoryLimiter } from '../../src/runtime/memory-limiter.ts'
import { systemClock } from '../../src/runtime/clock.ts'
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
