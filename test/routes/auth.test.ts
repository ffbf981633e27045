import { expect, test } from 'vitest'
import { permissionsOf } from '../../src/lib/permissions.ts'
import { createMemoryLimiter } from '../../src/runtime/memory-limiter.ts'
import { systemClock } from '../../src/runtime/clock.ts'
import { createTestApp } from '../support/app.ts'
import { createIdentityProvider } from '../support/jwks-server.ts'
import { signInUser } from '../support/user.ts'

const provider = await createIdentityProvider()
const app = await createTestApp({ config: provider.config })
const { signIn } = app
const json = async (response: Response) => (await response.json()) as { [key: string]: any }
const newUser = (claims: object = {}) => signInUser(app, provider, { claims: { ...claims } })

test('a user reads who they are, where they act and what they may do', async () => {
  const user = await newUser({ name: 'Ada', email: 'ada@example.com' })
  const response = await user.get('/api/auth/me')
  expect(response.status).toBe(200)
  expect(await json(response)).toMatchObject({
    kind: 'user',
    user: { email: 'ada@example.com', name: 'Ada' },
    api_key: null,
    workspace: { name: 'Ada', slug: expect.stringMatching(/^ada-/) },
    role: 'owner',
    permissions: permissionsOf('owner', { isOperator: false }),
  })
  expect((await json(await user.get('/api/permissions')))['effective']).toEqual(
    permissionsOf('owner', { isOperator: false }),
  )
})

test('a key reads what it is', async () => {
  const client = await signIn({ scopes: ['agents:read'] })
  expect(await json(await client.get('/api/auth/me'))).toMatchObject({
    kind: 'key',
    user: null,
    api_key: { id: client.keyId, kind: 'server' },
    workspace: { id: client.workspaceId },
    role: null,
    permissions: ['agents:read'],
  })
})

test('twenty first requests at once see one user and one workspace', async () => {
  const user = await newUser()
  const seen = await Promise.all(Array.from({ length: 20 }, () => user.me()))
  expect(new Set(seen.map((me) => `${me.user.id} ${me.workspace.id}`)).size).toBe(1)
})

test('what a user makes belongs to the workspace that is named', async () => {
  const user = await newUser()
  const other = await json(await user.post('/api/workspaces', { name: 'Research Lab' }))
  expect(other).toMatchObject({ name: 'Research Lab', slug: expect.stringMatching(/^research-lab-[0-9a-f]{8}$/) })
  const there = { 'x-workspace-id': other['slug'] }
  const agent = await json(await user.post('/api/agents', { name: 'Mine', system_prompt: 'Be brief.' }, there))
  expect((await user.get(`/api/agents/${agent['id']}`, { 'x-workspace-id': other['id'] })).status).toBe(200)
  expect((await user.get(`/api/agents/${agent['id']}`)).status).toBe(404)
  expect((await user.me(there)).workspace.id).toBe(other['id'])
})

test('a workspace of others answers as one that does not exist, byte for byte, to users and to keys', async () => {
  const [user, other] = [await newUser(), await newUser()]
  const foreign = (await other.me()).workspace
  const key = await signIn()
  const texts = new Set<string>()
  for (const name of [foreign.id, foreign.slug, crypto.randomUUID(), 'nowhere', '']) {
    for (const client of [user, key]) {
      for (const path of ['/api/agents', '/api/auth/me']) {
        const response = await client.get(path, { 'x-workspace-id': name, 'x-request-id': 'same' })
        expect(response.status).toBe(404)
        const headers = [...response.headers].filter(([header]) => !header.startsWith('ratelimit'))
        texts.add(JSON.stringify([headers, (await response.text()).replace(path, '')]))
      }
    }
  }
  expect(texts.size).toBe(1)
})

test('a key may say which workspace is its own', async () => {
  const client = await signIn()
  const { slug } = await json(await client.get('/api/workspaces/current'))
  for (const name of [client.workspaceId, client.workspaceId.toUpperCase(), slug]) {
    expect((await client.get('/api/agents', { 'x-workspace-id': name })).status).toBe(200)
  }
})

test('looking for workspaces ends in 429, with a key as with a token', async () => {
  const limited = await createTestApp({
    database: app.database,
    config: { ...provider.config, rateLimitDefault: { limit: 3, windowSeconds: 60 } },
    runtime: { limiter: createMemoryLimiter(systemClock) },
  })
  const user = await signInUser(limited, provider)
  const statuses = []
  for (const client of [user, limited, user, limited, user]) {
    statuses.push((await client.get('/api/agents', { 'x-workspace-id': crypto.randomUUID() })).status)
  }
  expect(statuses).toEqual([404, 404, 404, 429, 429])
  expect((await user.get('/api/agents')).status).toBe(200)
})

test('a user spends one budget in all workspaces, and nobody else spends it', async () => {
  const limited = await createTestApp({
    database: app.database,
    config: { ...provider.config, rateLimitAuthenticated: { limit: 3, windowSeconds: 60 } },
    runtime: { limiter: createMemoryLimiter(systemClock) },
  })
  const [user, other] = [await signInUser(limited, provider), await signInUser(limited, provider)]
  const { id } = await json(await user.post('/api/workspaces', { name: 'Second' }))
  expect((await user.get('/api/agents')).status).toBe(200)
  expect((await user.get('/api/agents', { 'x-workspace-id': id })).status).toBe(200)
  expect((await user.get('/api/agents')).status).toBe(429)
  expect((await user.get('/api/agents', { 'x-workspace-id': id })).status).toBe(429)
  expect((await other.get('/api/agents')).status).toBe(200)
})

test('a viewer reads and changes nothing, and makes no key', async () => {
  const [owner, viewer] = [await newUser(), await newUser()]
  const { workspace } = await owner.me()
  const { user } = await viewer.me()
  await app.db
    .insertInto('memberships')
    .values({ workspace_id: workspace.id, user_id: user.id, role: 'viewer' })
    .execute()
  const there = { 'x-workspace-id': workspace.id }
  expect((await viewer.me(there))['role']).toBe('viewer')
  expect((await viewer.get('/api/agents', there)).status).toBe(200)
  for (const [method, path, body] of [
    ['POST', '/api/agents', { name: 'x', system_prompt: 'x' }],
    ['POST', '/api/api-keys', { name: 'x', scopes: ['agents:read'] }],
    ['PATCH', '/api/workspaces/current', { name: 'x' }],
  ] as const) {
    expect((await viewer.request(method, path, body, there)).status, path).toBe(403)
  }
})

test('a key that a user makes holds no more than the user, and says who made it', async () => {
  const [owner, admin] = [await newUser(), await newUser()]
  const { workspace } = await owner.me()
  const { user } = await admin.me()
  await app.db
    .insertInto('memberships')
    .values({ workspace_id: workspace.id, user_id: user.id, role: 'admin' })
    .execute()
  const there = { 'x-workspace-id': workspace.id }
  const more = await admin.post('/api/api-keys', { name: 'x', scopes: 'owner' }, there)
  expect([more.status, (await json(more))['detail']]).toEqual([403, expect.stringContaining('workspaces:manage')])
  const made = await json(await admin.post('/api/api-keys', { name: 'x', scopes: 'admin' }, there))
  expect(made).toMatchObject({ created_by: `user:${user.id}`, scopes: permissionsOf('admin', { isOperator: false }) })
})

test('signing out everywhere refuses every token so far, at once; a new one counts', async () => {
  const sub = `user-${crypto.randomUUID()}`
  const nowS = Math.floor(Date.now() / 1000)
  const [one, two] = [await newUser({ sub, iat: nowS - 1 }), await newUser({ sub, iat: nowS - 2 })]
  const bystander = await newUser()
  const key = await json(await one.post('/api/api-keys', { name: 'mine', scopes: ['agents:read'] }))
  expect([(await one.get('/api/agents')).status, (await two.get('/api/agents')).status]).toEqual([200, 200])
  const response = await one.post('/api/auth/sign-out-everywhere')
  expect(response.status).toBe(200)
  const { tokens_valid_after } = await json(response)
  expect(Date.parse(tokens_valid_after)).toBeGreaterThan((nowS - 1) * 1000)
  for (const client of [one, two]) {
    const refused = await client.get('/api/agents')
    expect([refused.status, refused.headers.get('www-authenticate')]).toEqual([401, 'Bearer realm="automatos"'])
  }
  const later = await newUser({ sub, iat: Math.ceil(Date.parse(tokens_valid_after) / 1000) })
  expect((await later.get('/api/agents')).status).toBe(200)
  expect((await bystander.get('/api/agents')).status).toBe(200)
  expect((await app.app.request('/api/agents', { headers: { 'x-api-key': key['key'] } })).status).toBe(200)
})

test('a key cannot sign out', async () => {
  expect((await (await signIn()).post('/api/auth/sign-out-everywhere')).status).toBe(403)
})

test.each(['authorization', 'x-api-key'])('a token in %s that does not count never falls through', async (header) => {
  const { key } = await signIn()
  const token = await provider.token({ claims: { exp: 1 } })
  const headers: Record<string, string> =
    header === 'authorization'
      ? { authorization: `Bearer ${token}`, 'x-api-key': key }
      : { 'x-api-key': await provider.token() }
  const response = await app.app.request('/api/agents', { headers })
  expect([response.status, response.headers.get('www-authenticate')]).toEqual([401, 'Bearer realm="automatos"'])
})

test('refused tokens cost the address, a good one does not', async () => {
  const limited = await createTestApp({
    database: app.database,
    config: { ...provider.config, rateLimitDefault: { limit: 3, windowSeconds: 60 } },
    runtime: { limiter: createMemoryLimiter(systemClock) },
  })
  const expired = await signInUser(limited, provider, { claims: { exp: 1 } })
  const statuses = []
  for (let i = 0; i < 4; i++) statuses.push((await expired.get('/api/agents')).status)
  expect(statuses).toEqual([401, 401, 401, 429])
  expect((await (await signInUser(limited, provider)).get('/api/agents')).status).toBe(200)
})

test('while the identity provider is away, a token is answered 503 with a time to come again, and health says so', async () => {
  const away = await createIdentityProvider()
  await away.fail('an error')
  const lonely = await createTestApp({ database: app.database, config: away.config })
  const response = await (await signInUser(lonely, away)).get('/api/agents')
  expect([response.status, response.headers.get('content-type')]).toEqual([503, 'application/problem+json'])
  expect(Number(response.headers.get('retry-after'))).toBeGreaterThanOrEqual(1)
  expect((await lonely.get('/api/agents')).status).toBe(200)
  const health = await lonely.app.request('/health')
  expect(health.status).toBe(200)
  expect(await json(health)).toMatchObject({ status: 'degraded', components: { identity: { status: 'unhealthy' } } })
  expect((await json(await app.app.request('/health')))['components']['identity']).toMatchObject({ status: 'healthy' })
})

test('health says nothing of an identity provider that is not configured', async () => {
  const plain = await createTestApp({ database: app.database })
  expect((await json(await plain.app.request('/health')))['components']).not.toHaveProperty('identity')
  const token = await signInUser(plain, provider)
  expect((await token.get('/api/agents')).status).toBe(401)
})

test('a session that is ended stays so, also for tokens that are issued for it later; others go on', async () => {
  const sub = `user-${crypto.randomUUID()}`
  const inSession = (sid: string | undefined, claims: object = {}) => newUser({ sub, sid, ...claims })
  const [one, two, none] = [await inSession('one'), await inSession('two'), await inSession(undefined)]
  expect([await one.me(), await none.me()]).toMatchObject([{ session_id: 'one' }, { session_id: null }])
  const ended = await one.post('/api/auth/sign-out')
  expect([ended.status, await json(ended)]).toMatchObject([200, { session_id: 'one', revoked_at: expect.any(String) }])
  const later = await inSession('one', { iat: Math.floor(Date.now() / 1000) + 5 })
  const statuses = async () =>
    Promise.all([one, later, two, none].map(async (client) => (await client.get('/api/agents')).status))
  expect(await statuses()).toEqual([401, 401, 200, 200])

  expect((await none.post('/api/auth/sign-out')).status).toBe(422)
  for (const session_id of ['half \ud83d', 'nul \0'])
    expect((await none.post('/api/auth/sign-out', { session_id })).status).toBe(422)
  for (let i = 0; i < 2; i++) expect((await none.post('/api/auth/sign-out', { session_id: 'two' })).status).toBe(200)
  expect(await statuses()).toEqual([401, 401, 401, 200])
  // Sessions are a user's own: of the same name another may have one too.
  const stranger = await newUser({ sid: 'one' })
  expect((await stranger.get('/api/agents')).status).toBe(200)
  expect((await (await signIn()).post('/api/auth/sign-out')).status).toBe(403)
})

test('a signed address ends with the session in which it was asked for', async () => {
  const sub = `user-${crypto.randomUUID()}`
  const [one, two] = [await newUser({ sub, sid: 'one' }), await newUser({ sub, sid: 'two' })]
  const form = new FormData()
  form.set('file', new File(['hello'], 'a.txt', { type: 'text/plain' }))
  const upload = await app.app.request('/api/files', {
    method: 'POST',
    headers: { authorization: `Bearer ${one.token}` },
    body: form,
  })
  const { id } = await json(upload)
  const linkOf = async (client: typeof one) => {
    const { url } = await json(await client.post(`/api/files/${id}/content/link`))
    return new URL(url).pathname + new URL(url).search
  }
  const [first, second] = [await linkOf(one), await linkOf(two)]
  const open = async (path: string) => (await app.app.request(path)).status
  expect([await open(first), await open(second)]).toEqual([200, 200])
  await one.post('/api/auth/sign-out')
  expect([await open(first), await open(second)]).toEqual([401, 200])
})

test('an organization says which roles its members get, never one above whoever says so', async () => {
  const jwksUrl = provider.config.authJwksUrl
  const issuer = 'https://clerk.example'
  const clerk = { issuer, jwksUrl, kind: 'clerk' as const, audience: [], authorizedParties: [] }
  const there = await createTestApp({ database: app.database, config: { authIssuers: [clerk] } })
  const org = `org_${crypto.randomUUID()}`
  const come = (rol: string) => signInUser(there, provider, { claims: { iss: issuer, o: { id: org, rol } } })
  const [owner, admin] = [await come('admin'), await come('admin')]
  expect([(await owner.me())['role'], (await admin.me())['role']]).toEqual(['owner', 'admin'])
  const read = await admin.get('/api/auth/organization')
  expect(await json(read)).toMatchObject({ issuer, org_id: org, role_map: {} })
  const etag = { 'if-match': read.headers.get('etag')! }
  const change = (client: typeof owner, role_map: object, headers = {}) =>
    client.request('PATCH', '/api/auth/organization', { role_map }, headers)
  expect((await change(admin, { member: 'owner' })).status).toBe(403)
  expect((await change(admin, { member: 'no-such-role' })).status).toBe(422)
  expect((await change(admin, { member: 'viewer', billing: 'editor' }, etag)).status).toBe(200)
  expect((await change(admin, {}, etag)).status).toBe(412)
  const roles = await Promise.all(
    ['member', 'billing', 'other'].map(async (rol) => (await (await come(rol)).me())['role']),
  )
  expect(roles).toEqual(['viewer', 'editor', 'viewer'])
  expect((await change(await come('member'), {})).status).toBe(403)
  const personal = await signInUser(there, provider, { claims: { iss: issuer } })
  expect(await json(await personal.get('/api/auth/organization'))).toMatchObject({ issuer: null, org_id: null })
  expect((await change(personal, {})).status).toBe(404)
})
