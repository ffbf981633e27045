import { expect, test } from 'vitest'
import { createTestApp, type Client } from '../support/app.ts'
import { loopbackServer } from '../support/loopback-server.ts'

const app = await createTestApp()
const { signIn } = app
const json = async (response: Response) => (await response.json()) as { [key: string]: any }
const base = '/api/egress-rules'
const rule = (client: Client, action: string, pattern: string) => client.post(base, { action, pattern })

/** What the guard makes of a request of a workspace: reached, or the reason of its refusal. */
async function outcome({ workspaceId }: Client, url: string): Promise<string> {
  return app.runtime.egress(new Request(url), { workspaceId }).then(
    () => 'reached',
    (error: { reason?: string; kind?: string }) => error.reason ?? error.kind ?? String(error),
  )
}

test('denial wins, an allow list is exclusive, and both hold for one workspace alone, at once', async () => {
  const [mine, other] = [await signIn(), await signIn()]
  const { port } = await loopbackServer((_, response) => response.end('ok'))
  const [byName, byAddress] = [`http://localhost:${port}/`, `http://127.0.0.1:${port}/`]
  const both = async () => [await outcome(mine, byName), await outcome(mine, byAddress)]
  expect(await both()).toEqual(['reached', 'reached'])
  const denied = await json(await rule(mine, 'deny', 'LOCALHOST'))
  expect(denied['pattern']).toBe('localhost')
  expect(await both()).toEqual(['denied', 'reached'])
  await rule(mine, 'allow', 'localhost')
  expect(await both()).toEqual(['denied', 'not-allowed'])
  expect((await mine.del(`${base}/${denied['id']}`)).status).toBe(204)
  expect(await both()).toEqual(['reached', 'not-allowed'])
  await rule(mine, 'allow', '127.0.0.0/8')
  expect(await both()).toEqual(['reached', 'reached'])
  // By address it counts for every name that leads there.
  await rule(mine, 'deny', '127.0.0.1')
  expect(await both()).toEqual(['denied', 'denied'])
  expect(await outcome(other, byName)).toBe('reached')
})

test('what the operator has closed no workspace opens', async () => {
  const client = await signIn()
  for (const pattern of ['10.0.0.0/8', '10.1.2.3', 'metadata.google.internal', '169.254.169.254'])
    expect((await rule(client, 'allow', pattern)).status).toBe(201)
  for (const url of ['http://10.1.2.3/', 'http://169.254.169.254/', 'http://metadata.google.internal/'])
    expect(await outcome(client, url)).toBe('address')
})

test('each hop of a redirect obeys, and so do the paths that carry no credential', async () => {
  const client = await signIn()
  const target = await loopbackServer((_, response) => response.end('there'))
  const { port } = await loopbackServer((_, response) =>
    response.writeHead(302, { location: `http://127.0.0.1:${target.port}/` }).end(),
  )
  await rule(client, 'deny', `127.0.0.1:${target.port}`)
  expect(await outcome(client, `http://127.0.0.1:${port}/`)).toBe('denied')
  expect(target.seen).toEqual([])
})

test('a refusal goes into the audit log, once a minute for a host and a reason', async () => {
  const client = await signIn()
  await rule(client, 'deny', 'localhost')
  for (let i = 0; i < 3; i++) await outcome(client, 'http://localhost:1/')
  await outcome(client, 'http://10.0.0.1/?own=query')
  await app.settle()
  const rows = await app.db
    .selectFrom('audit_logs')
    .select(['action', 'target_id', 'after'])
    .where('workspace_id', '=', client.workspaceId)
    .where('action', '=', 'egress.refused')
    .orderBy('seq')
    .execute()
  expect(rows).toEqual([
    { action: 'egress.refused', target_id: 'localhost:1', after: { reason: 'denied' } },
    { action: 'egress.refused', target_id: '10.0.0.1', after: { reason: 'address' } },
  ])
})

test('a rule names a host, an address or a range, once', async () => {
  const client = await signIn()
  for (const pattern of ['https://a.example', 'a.example/path', '10.0.0.0/33', 'a b', '1/2'])
    expect((await rule(client, 'deny', pattern)).status, pattern).toBe(422)
  expect((await json(await rule(client, 'deny', '10.9.8.7/8')))['pattern']).toBe('10.0.0.0/8')
  expect((await rule(client, 'deny', '10.0.0.0/8')).status).toBe(409)
  expect((await rule(client, 'allow', '10.0.0.0/8')).status).toBe(201)
  const { items } = await json(await client.get(base))
  expect(items).toHaveLength(2)
  const path = `${base}/${items[0].id}`
  expect((await (await signIn()).get(path)).status).toBe(404)
  expect((await (await signIn()).del(path)).status).toBe(404)
  expect((await client.del(path, { 'if-match': '"another"' })).status).toBe(412)
  const reader = await signIn({ workspace: client.workspaceId, scopes: ['credentials:read'] })
  expect([(await reader.get(path)).status, (await reader.del(path)).status]).toEqual([200, 403])
})
