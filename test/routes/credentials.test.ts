import { expect, test } from 'vitest'
import { createTestApp } from '../support/app.ts'
import { loopbackServer } from '../support/loopback-server.ts'

const app = await createTestApp()
const { signIn } = app
const json = async (response: Response) => (await response.json()) as { [key: string]: any }
const pointers = (problem: { [key: string]: any }) =>
  problem['errors'].map((fault: { pointer: string }) => fault.pointer).toSorted()
const bearer = { slug: 'tracker', kind: 'bearer', hosts: ['api.tracker.example'], fields: { token: 'tok-5c1e7d' } }

test('a credential is stored and never told again', async () => {
  const client = await signIn()
  const response = await client.post('/api/credentials', {
    ...bearer,
    name: 'Tracker',
    hosts: ['API.tracker.example', '*.tracker.example:8443'],
  })
  expect(response.status).toBe(201)
  expect(response.headers.get('location')).toBe('/api/credentials/tracker')
  const made = await json(response)
  expect(made).toEqual({
    id: made['id'],
    slug: 'tracker',
    name: 'Tracker',
    kind: 'bearer',
    hosts: ['api.tracker.example', '*.tracker.example:8443'],
    fields: ['token'],
    values: {},
    field_schema: null,
    test_url: null,
    version: 1,
    connection: null,
    token_expires_at: null,
    last_test: null,
    last_used_at: null,
    created_at: made['created_at'],
    updated_at: made['updated_at'],
  })
  const answers = [
    made,
    await json(await client.get('/api/credentials')),
    await json(await client.get('/api/credentials/tracker')),
    await json(await client.get(`/api/credentials/${made['id']}`)),
  ]
  for (const answer of answers) expect(JSON.stringify(answer)).not.toContain('tok-5c1e7d')
  expect(answers[2]).toEqual(made)
  expect(answers[3]).toEqual(made)
})

test.each([
  ['basic', { username: 'u', password: 'p' }, { username: 'u' }],
  ['header', { name: 'X-Key', value: 'v' }, { name: 'X-Key' }],
  ['query', { name: 'key', value: 'v' }, { name: 'key' }],
  ['api_key', { name: 'X-Key', value: 'v' }, { in: 'header', name: 'X-Key' }],
  [
    'oauth2_client_credentials',
    { token_url: 'https://login.example.com/token', client_id: 'c', client_secret: 's' },
    { token_url: 'https://login.example.com/token', client_id: 'c', client_auth: 'basic' },
  ],
])('of %s the secret fields alone are sealed, the others are shown', async (kind, fields, shown) => {
  const body = { slug: 'svc', kind, fields, hosts: ['a.example'] }
  const made = await json(await (await signIn()).post('/api/credentials', body))
  expect([made['kind'], made['values'], made['name']]).toEqual([kind, shown, 'svc'])
})

test('it must be bound: to at least one host, and not to all of them', async () => {
  const client = await signIn()
  for (const hosts of [[], ['*'], ['*.com'], ['*:443'], ['https://a.example'], ['a.example/path'], undefined]) {
    expect((await client.post('/api/credentials', { ...bearer, hosts })).status).toBe(422)
  }
  expect(
    pointers(await json(await client.post('/api/credentials', { ...bearer, hosts: ['a.example', '*', '*.org'] }))),
  ).toEqual(['/hosts/1', '/hosts/2'])
})

test.each([
  [{ kind: 'bearer', fields: { token: 'a b' } }, ['/fields/token']],
  [{ kind: 'bearer', fields: { token: 'tok-5c1e7d\r\nx: y' } }, ['/fields/token']],
  [{ kind: 'basic', fields: { username: 'a:b', password: 'p' } }, ['/fields/username']],
  [{ kind: 'header', fields: { name: 'Host', value: 'v' } }, ['/fields/name']],
  [{ kind: 'header', fields: { name: 'a b', value: 'ü' } }, ['/fields/name', '/fields/value']],
  [{ kind: 'bearer', fields: { name: 'x', value: 'y' } }, ['/fields/name', '/fields/token', '/fields/value']],
  [{ slug: 'Upper Case' }, ['/slug']],
  [{ kind: 'oauth' }, ['/kind']],
])('%j is refused without repeating a secret', async (change, faults) => {
  const response = await (await signIn()).post('/api/credentials', { ...bearer, ...change })
  const text = await response.text()
  expect([response.status, pointers(JSON.parse(text))]).toEqual([422, faults])
  expect(text).not.toContain('tok-5c1e7d')
})

test('a slug is taken once in a workspace, also by two at the same time, and is free again after a delete', async () => {
  const client = await signIn()
  const both = await Promise.all([client.post('/api/credentials', bearer), client.post('/api/credentials', bearer)])
  expect(both.map(({ status }) => status).toSorted()).toEqual([201, 409])
  expect((await (await signIn()).post('/api/credentials', bearer)).status).toBe(201)
  expect((await client.del('/api/credentials/tracker')).status).toBe(204)
  expect((await client.del('/api/credentials/tracker')).status).toBe(404)
  expect((await client.post('/api/credentials', bearer)).status).toBe(201)
})

test("another workspace's credential answers as one that never existed, and is not deleted", async () => {
  const [mine, theirs] = [await signIn(), await signIn()]
  const { id } = await json(await theirs.post('/api/credentials', bearer))
  for (const name of [id, 'tracker', 'unknown']) {
    for (const response of [await mine.get(`/api/credentials/${name}`), await mine.del(`/api/credentials/${name}`)]) {
      expect(response.status).toBe(404)
      expect((await json(response))['detail']).toBe(`The credential ${name} does not exist.`)
    }
  }
  expect(await json(await mine.get('/api/credentials'))).toEqual({ items: [], next_cursor: null })
  expect((await theirs.get('/api/credentials/tracker')).status).toBe(200)
})

test('reading needs credentials:read, storing and deleting credentials:manage; a stranger gets neither', async () => {
  const reader = await signIn({ scopes: ['credentials:read'] })
  expect((await reader.get('/api/credentials')).status).toBe(200)
  expect((await reader.post('/api/credentials', bearer)).status).toBe(403)
  expect((await reader.del('/api/credentials/tracker')).status).toBe(403)
  expect((await (await signIn({ scopes: ['agents:read'] })).get('/api/credentials')).status).toBe(403)
  expect((await reader.get('/api/credentials', { authorization: `Bearer ak_srv_${'0'.repeat(64)}` })).status).toBe(401)
})

test('the guard sends it to its host, and its use shows', async () => {
  const client = await signIn()
  const { port, seen } = await loopbackServer((_, response) => response.end('ok'))
  await client.post('/api/credentials', { ...bearer, hosts: [`127.0.0.1:${port}`] })
  const { workspaceId } = client
  await app.runtime.egress(new Request(`http://127.0.0.1:${port}/`), { workspaceId, credential: 'tracker' })
  await app.settle()
  expect(seen[0]!.headers.authorization).toBe('Bearer tok-5c1e7d')
  expect((await json(await client.get('/api/credentials/tracker')))['last_used_at']).toMatch(/Z$/)
  await client.del('/api/credentials/tracker')
  await expect(
    app.runtime.egress(new Request(`http://127.0.0.1:${port}/`), { workspaceId, credential: 'tracker' }),
  ).rejects.toMatchObject({ kind: 'egress-refused' })
})

test('the types are data: a schema of the fields, with which of them are secret', async () => {
  const { items } = await json(await app.get('/api/credentials/types'))
  const secretsOf = (id: string) =>
    Object.entries(items.find((type: { id: string }) => type.id === id).schema.properties).flatMap(([name, property]) =>
      (property as { secret?: boolean }).secret ? [name] : [],
    )
  expect(items.map(({ id }: { id: string }) => id).toSorted()).toEqual(
    'api_key basic bearer custom discord header oauth2_authorization_code oauth2_client_credentials postgres query s3 slack smtp telegram'
      .split(' ')
      .toSorted(),
  )
  expect([secretsOf('smtp'), secretsOf('s3'), secretsOf('slack')]).toEqual([
    ['password'],
    ['secret_access_key', 'session_token'],
    ['token'],
  ])
})

test('a type knows its hosts, and an address of their own takes their place', async () => {
  const client = await signIn()
  const hostsOf = async (slug: string, kind: string, fields: object) =>
    (await json(await client.post('/api/credentials', { slug, kind, fields })))['hosts']
  expect(await hostsOf('a-slack', 'slack', { token: 'xoxb-1' })).toEqual(['slack.com'])
  expect(await hostsOf('gov', 'slack', { token: 'xoxb-1', api_url: 'https://slack-gov.com/api' })).toEqual([
    'slack-gov.com',
  ])
  const smtp = { host: 'smtp.example.com', username: 'u', password: 'p' }
  expect(await hostsOf('mail', 'smtp', smtp)).toEqual(['smtp.example.com'])
})

test('a custom one says by a JSON Schema what its fields are and which are secret', async () => {
  const client = await signIn()
  const schema = {
    type: 'object',
    properties: { account: { type: 'string', pattern: '^[0-9]+$' }, pin: { type: 'string', secret: true } },
    required: ['account', 'pin'],
    additionalProperties: false,
  }
  const body = { slug: 'bank', kind: 'custom', hosts: ['bank.example'], fields: { account: '12', pin: 'p-9' } }
  const made = await client.post('/api/credentials', { ...body, field_schema: schema })
  const text = await made.text()
  expect([made.status, JSON.parse(text)['values'], JSON.parse(text)['fields'].toSorted()]).toEqual([
    201,
    { account: '12' },
    ['account', 'pin'],
  ])
  expect(text).not.toContain('p-9')
  const faultsOf = async (change: object) =>
    pointers(await json(await client.post('/api/credentials', { ...body, slug: 'other', ...change })))
  expect(await faultsOf({})).toEqual(['/field_schema'])
  expect(await faultsOf({ field_schema: { ...schema, additionalProperties: true } })).toEqual([
    '/field_schema/additionalProperties',
  ])
  expect(await faultsOf({ field_schema: schema, fields: { account: 'x', pin: 'p-9' } })).toEqual(['/fields/account'])
  expect(await faultsOf({ field_schema: schema, fields: { account: '1', pin: 'p', more: { deep: 1 } } })).toEqual([
    '/fields/more',
  ])
})

test('a change replaces single fields, in the state that was seen', async () => {
  const client = await signIn()
  const { port, seen } = await loopbackServer((_, response) => response.end('ok'))
  const fields = { username: 'u', password: 'first' }
  const hosts = [`127.0.0.1:${port}`]
  const made = await client.post('/api/credentials', { slug: 'svc', kind: 'basic', fields, hosts })
  const tag = made.headers.get('etag')!
  const changed = await client.patch('/api/credentials/svc', { fields: { password: 'second' } }, { 'if-match': tag })
  expect([changed.status, (await json(changed))['version']]).toEqual([200, 2])
  expect((await client.patch('/api/credentials/svc', { name: 'x' }, { 'if-match': tag })).status).toBe(412)
  expect((await client.patch('/api/credentials/svc', { fields: { password: 7 } })).status).toBe(422)
  const { workspaceId } = client
  await app.runtime.egress(new Request(`http://127.0.0.1:${port}/`), { workspaceId, credential: 'svc' })
  expect(seen[0]!.headers.authorization).toBe(`Basic ${btoa('u:second')}`)
})

test('whoever lets a secret go elsewhere has to know it', async () => {
  const client = await signIn()
  await client.post('/api/credentials', { ...bearer, hosts: ['api.tracker.example', 'old.tracker.example'] })
  const path = '/api/credentials/tracker'
  const widened = await client.patch(path, { hosts: ['thief.example'] })
  expect([widened.status, pointers(await json(widened))]).toEqual([422, ['/hosts']])
  expect((await client.patch(path, { hosts: ['api.tracker.example'] })).status).toBe(200)
  const together = { hosts: ['new.tracker.example'], fields: { token: 'tok-5c1e7d' } }
  expect((await json(await client.patch(path, together)))['hosts']).toEqual(['new.tracker.example'])
  const oauth = { token_url: 'https://login.example.com/token', client_id: 'c', client_secret: 's' }
  await client.post('/api/credentials', {
    slug: 'client',
    kind: 'oauth2_client_credentials',
    fields: oauth,
    hosts: ['api.example.com'],
  })
  const moved = await client.patch('/api/credentials/client', { fields: { token_url: 'https://thief.example/token' } })
  expect([moved.status, pointers(await json(moved))]).toEqual([422, ['/fields/token_url']])
})

test('one that is in use is not deleted before somebody insists, and the answer names its users', async () => {
  const client = await signIn()
  const { id } = await json(await client.post('/api/credentials', bearer))
  const step = (more: object) => ({
    id: 'get',
    kind: 'http',
    request: { method: 'GET', url: 'https://a.example/' },
    ...more,
  })
  const make = (name: string, more: object) => client.post('/api/workflow-recipes', { name, steps: [step(more)] })
  expect((await make('By slug', { auth: { credential: 'tracker' } })).status).toBe(201)
  expect((await make('By id', { auth: { credential: id } })).status).toBe(201)
  const url = "https://a.example/?key={{ secret('tracker.token') }}"
  expect((await make('By field', { request: { method: 'GET', url } })).status).toBe(201)
  expect((await make('Another', { auth: { credential: 'tracker-2' } })).status).toBe(201)
  const model = { provider: 'openai-compatible', model: 'm', base_url: 'https://m.example/v1', credential: 'tracker' }
  expect((await client.post('/api/agents', { name: 'Its agent', system_prompt: 'x', model })).status).toBe(201)

  const refused = await client.del('/api/credentials/tracker')
  expect([refused.status, (await json(refused))['detail']]).toEqual([
    409,
    'The credential is used by agent its-agent, recipe by-field, recipe by-id, recipe by-slug. ?force=true deletes it.',
  ])
  expect((await client.del('/api/credentials/tracker?force=true')).status).toBe(204)
})

test('its uses are told: when, by whom, where to and what came of it', async () => {
  const client = await signIn()
  const { port } = await loopbackServer((request, response) =>
    response.writeHead(request.url === '/gone' ? 410 : 200).end('ok'),
  )
  const { id } = await json(await client.post('/api/credentials', { ...bearer, hosts: [`127.0.0.1:${port}`] }))
  const { workspaceId } = client
  const use = (path: string, by = {}) =>
    app.runtime.egress(new Request(`http://127.0.0.1:${port}${path}`), { workspaceId, credential: id, by })
  const runId = '01939f3d-0000-7b3e-9d1a-2f6b8c4d5e6f'
  await Promise.all([use('/'), use('/'), use('/gone', { runId, step: 'get', agentId: 'a', tool: 't' })])
  await app.settle()
  const { items } = await json(await client.get('/api/credentials/tracker/usage'))
  const host = `127.0.0.1:${port}`
  const told = items.map(
    ({ id: _id, used_at, ...use }: { [key: string]: unknown }) => (expect(used_at).toMatch(/Z$/), use),
  )
  const nobody = { run_id: null, step: null, agent_id: null, tool: null }
  expect(told).toHaveLength(2)
  expect(told).toContainEqual({ host, outcome: 'sent', status: 200, ...nobody, count: 2 })
  expect(told).toContainEqual({
    host,
    outcome: 'sent',
    status: 410,
    count: 1,
    run_id: runId,
    step: 'get',
    agent_id: 'a',
    tool: 't',
  })
  expect((await (await signIn()).get('/api/credentials/tracker/usage')).status).toBe(404)
})
