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
    last_used_at: null,
    created_at: made['created_at'],
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
  ['basic', { username: 'u', password: 'p' }, ['username', 'password']],
  ['header', { name: 'X-Key', value: 'v' }, ['name', 'value']],
  ['query', { name: 'key', value: 'v' }, ['name', 'value']],
])('%s is stored with its fields', async (kind, fields, names) => {
  const made = await json(
    await (await signIn()).post('/api/credentials', { slug: 'svc', kind, fields, hosts: ['a.example'] }),
  )
  expect([made['kind'], made['fields'], made['name']]).toEqual([kind, names, 'svc'])
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
