import { expect, test } from 'vitest'
import { callerCacheOf } from '../../src/services/identity/caller-cache.ts'
import { issueTicket } from '../../src/services/identity/ticket.ts'
import { resourceOf } from '../../src/lib/resource.ts'
import { engineOf, runsService } from '../../src/services/runs/index.ts'
import { createTestApp, type Client, type TestApp } from '../support/app.ts'
import { createCipher } from '../../src/runtime/cipher.ts'
import { systemClock } from '../../src/runtime/clock.ts'

let aheadMs = 0
const clock = { ...systemClock, now: () => new Date(Date.now() + aheadMs) }
const owner = await createTestApp({ runtime: { clock } })

interface SignedLink {
  url: string
  expires_at: string
}

async function aRun(client: Client): Promise<string> {
  const slug = `r${crypto.randomUUID().slice(0, 8)}`
  await client.post('/api/workflow-recipes', {
    name: 'Greeting',
    slug,
    steps: [{ id: 'one', kind: 'transform', value: 'Hello' }],
    output: { $expr: 'steps.one.output' },
  })
  const started = (await (await client.post(`/api/workflow-recipes/${slug}/execute`, {})).json()) as { id: string }
  await runsService.tick(owner.runtime)
  await engineOf(owner.runtime).idle()
  return started.id
}

/** The path and query of a new signed address. */
async function sign(client: Client, path: string): Promise<string> {
  const response = await client.post(path)
  const text = await response.text()
  expect(response.status, text).toBe(200)
  expect(response.headers.get('cache-control')).toBe('no-store')
  const { pathname, search } = new URL((JSON.parse(text) as SignedLink).url)
  return pathname + search
}
const open = (path: string, init: RequestInit = {}, app: TestApp = owner) => app.app.request(path, init)
const problemOf = async (response: Response) => ((await response.json()) as { type: string }).type

test('opens its one address without a header, on GET and HEAD, more than once, for five minutes', async () => {
  const id = await aRun(owner)
  const events = (await (await owner.post(`/api/executions/${id}/events/ticket`)).json()) as SignedLink
  expect(events.url).toMatch(`${owner.runtime.config.apiUrl}/api/executions/${id}/events?ticket=`)
  const inMs = Date.parse(events.expires_at) - Date.now()
  expect(inMs).toBeGreaterThan(290_000)
  expect(inMs).toBeLessThanOrEqual(300_000)

  const link = await sign(owner, `/api/executions/${id}/output/link`)
  for (const method of ['GET', 'HEAD', 'GET']) expect((await open(link, { method })).status).toBe(200)
  expect(await (await open(link)).text()).toBe('Hello')
  expect(await (await open(new URL(events.url).pathname + new URL(events.url).search)).text()).toContain(
    'event: execution.succeeded',
  )
})

test('opens the same address written another way, and takes what the GET takes besides', async () => {
  const id = await aRun(owner)
  const link = await sign(owner, `/api/executions/${id}/events/ticket`)
  expect((await open(link.replace('/events?', '/events/?'))).status).toBe(200)
  expect((await open(link.replace('/events', '/%65vents'))).status).toBe(200)
  const rest = await open(`${link}&last_event_id=4`)
  expect(await rest.text()).toContain('id: 5')
  const kept = await sign(owner, `/api/executions/${id}/events/ticket?last_event_id=4&other=1`)
  expect(kept).toContain('last_event_id=4')
  expect(kept).not.toContain('other')
  expect((await owner.post(`/api/executions/${id}/events/ticket?last_event_id=x`)).status).toBe(422)
})

test('opens nothing else: 401, as for any bad credential', async () => {
  const [id, other] = [await aRun(owner), await aRun(owner)]
  const output = await sign(owner, `/api/executions/${id}/output/link`)
  const search = output.slice(output.indexOf('?'))
  const ticket = search.slice('?ticket='.length)
  const [payload = '', ...rest] = ticket.split('.')
  const changed = `${payload.slice(0, -2)}${payload.endsWith('AA') ? 'BB' : 'AA'}.${rest.join('.')}`
  const attempts: [string, string, string][] = [
    ['another execution', 'GET', `/api/executions/${other}/output${search}`],
    ['another view of the same', 'GET', `/api/executions/${id}/events${search}`],
    ['the execution itself', 'GET', `/api/executions/${id}${search}`],
    ['a list', 'GET', `/api/executions${search}`],
    ['a write', 'POST', `/api/executions/${id}/cancel${search}`],
    ['a new ticket', 'POST', `/api/executions/${id}/output/link${search}`],
    ['changed claims', 'GET', `/api/executions/${id}/output?ticket=${changed}`],
    ['no signature', 'GET', `/api/executions/${id}/output?ticket=${payload}`],
    ['an empty ticket', 'GET', `/api/executions/${id}/output?ticket=`],
    ['a long one', 'GET', `/api/executions/${id}/output?ticket=${'x.'.repeat(5_000)}`],
    ['an API key in its place', 'GET', `/api/executions/${id}/output?ticket=${owner.key}`],
  ]
  for (const [name, method, path] of attempts) {
    const response = await open(path, { method })
    expect([response.status, await problemOf(response)], name).toEqual([401, '/problems/unauthenticated'])
    expect(response.headers.get('www-authenticate'), name).toContain('Bearer')
  }
})

test('a credential in a header comes first, and a bad one never falls through to a good ticket', async () => {
  const link = await sign(owner, `/api/executions/${await aRun(owner)}/output/link`)
  const stranger = await owner.signIn()
  expect((await stranger.get(link)).status).toBe(404)
  const bad: Record<string, string>[] = [
    { authorization: 'Bearer nonsense' },
    { 'x-api-key': '' },
    { authorization: '' },
  ]
  for (const headers of bad) {
    expect((await open(link, { headers })).status, JSON.stringify(headers)).toBe(401)
  }
})

test('is over after five minutes', async () => {
  const link = await sign(owner, `/api/executions/${await aRun(owner)}/output/link`)
  try {
    aheadMs = 5 * 60_000 - 5_000
    expect((await open(link)).status).toBe(200)
    aheadMs = 5 * 60_000
    expect((await open(link)).status).toBe(401)
  } finally {
    aheadMs = 0
  }
})

test('ends with the key that made it', async () => {
  const helper = await owner.signIn({ workspace: owner.workspaceId })
  const id = await aRun(owner)
  const link = await sign(helper, `/api/executions/${id}/output/link`)
  expect((await open(link)).status).toBe(200)
  expect((await owner.del(`/api/api-keys/${helper.keyId}`)).status).toBe(204)
  expect((await open(link)).status).toBe(401)

  const short = await owner.signIn({ workspace: owner.workspaceId })
  const second = await sign(short, `/api/executions/${id}/output/link`)
  await owner.db
    .updateTable('api_keys')
    .set({ expires_at: new Date(Date.now() - 1000) })
    .where('id', '=', short.keyId)
    .execute()
  expect((await open(second)).status).toBe(401)
})

test('ends with the text of the key that made it', async () => {
  const helper = await owner.signIn({ workspace: owner.workspaceId })
  const id = await aRun(owner)
  const rotate = async (overlap_seconds: number, key: string) => {
    const body = { overlap_seconds }
    const path = `/api/api-keys/${helper.keyId}/rotate`
    const rotated = await helper.post(path, body, { authorization: `Bearer ${key}` })
    return ((await rotated.json()) as { key: string }).key
  }
  const link = await sign(helper, `/api/executions/${id}/output/link`)
  const second = await rotate(60, helper.key)
  expect((await open(link)).status).toBe(200)
  const asSecond: Client = {
    ...helper,
    post: (path, body) => helper.post(path, body, { authorization: `Bearer ${second}` }),
  }
  const ofSecond = await sign(asSecond, `/api/executions/${id}/output/link`)
  const third = await rotate(60, second)
  expect([(await open(link)).status, (await open(ofSecond)).status]).toEqual([401, 200])
  await rotate(0, third)
  expect((await open(ofSecond)).status).toBe(401)
})

test('ends with the membership of the user who made it, and when that user signs out everywhere', async () => {
  const id = await aRun(owner)
  const userId = crypto.randomUUID()
  const { db } = owner
  await db
    .insertInto('users')
    .values({ id: userId, issuer: 'https://id.example', subject: userId, claims_issued_at: new Date() })
    .execute()
  const join = () =>
    db.insertInto('memberships').values({ workspace_id: owner.workspaceId, user_id: userId, role: 'viewer' }).execute()
  await join()
  const actor = { kind: 'user' as const, id: userId, workspaceId: owner.workspaceId, permissions: new Set<never>() }
  const resource = resourceOf('/api/executions/{execution}/output', { execution: id })
  const { ticket } = await issueTicket({ ...owner.runtime, actor }, { resource, permission: 'executions:read' })
  const path = `/api/executions/${id}/output?ticket=${ticket}`
  const forget = () => callerCacheOf(owner.runtime).forget(userId)
  expect((await open(path)).status).toBe(200)

  await db.deleteFrom('memberships').where('user_id', '=', userId).execute()
  forget()
  expect((await open(path)).status).toBe(401)
  await join()
  expect((await open(path)).status).toBe(200)
  await db
    .updateTable('users')
    .set({ tokens_valid_after: new Date(Date.now() + 1000) })
    .where('id', '=', userId)
    .execute()
  forget()
  expect((await open(path)).status).toBe(401)
})

test('lends one permission, and only as long as its maker has it', async () => {
  const id = await aRun(owner)
  const helper = await owner.signIn({ workspace: owner.workspaceId, scopes: ['executions:read'] })
  const link = await sign(helper, `/api/executions/${id}/output/link`)
  await owner.db
    .updateTable('api_keys')
    .set({ scopes: '[]' as never })
    .where('id', '=', helper.keyId)
    .execute()
  callerCacheOf(owner.runtime).forget(helper.keyId)
  expect((await open(link)).status).toBe(403)
  const powerless = await owner.signIn({ workspace: owner.workspaceId, scopes: ['recipes:read'] })
  expect((await powerless.post(`/api/executions/${id}/output/link`)).status).toBe(403)
})

test('a caller who was remembered for a ticket is not to be named by any header', async () => {
  const link = await sign(owner, `/api/executions/${await aRun(owner)}/output/link`)
  expect((await open(link)).status).toBe(200)
  for (const authorization of [`Bearer key`, `Bearer  key ${owner.keyId}`, `Bearer ${owner.keyId}`]) {
    const headers = { authorization, 'x-workspace-id': owner.keyId }
    expect((await open('/api/agents', { headers })).status, authorization).toBe(401)
  }
})

test('speaks for the workspace of its maker alone', async () => {
  const id = await aRun(owner)
  const stranger = await owner.signIn()
  const resource = resourceOf('/api/executions/{execution}/output', { execution: id })
  const actor = {
    kind: 'key' as const,
    id: stranger.keyId,
    workspaceId: owner.workspaceId,
    permissions: new Set<never>(),
  }
  const { ticket } = await issueTicket({ ...owner.runtime, actor }, { resource, permission: 'executions:read' })
  expect((await open(`/api/executions/${id}/output?ticket=${ticket}`)).status).toBe(401)
})

test('is of no use to another installation', async () => {
  const id = await aRun(owner)
  const link = await sign(owner, `/api/executions/${id}/output/link`)
  const cipher = createCipher(`test:${btoa('1'.repeat(32))}`)
  const other = await createTestApp({ database: owner.database, runtime: { cipher } })
  expect((await open(link, {}, other)).status).toBe(401)
})

test('bad ones cost their address, good ones their maker', async () => {
  const config = { rateLimitDefault: { limit: 3, windowSeconds: 60 } }
  const app = await createTestApp({ database: owner.database, config })
  const id = await aRun(owner)
  const link = await sign(await app.signIn({ workspace: owner.workspaceId }), `/api/executions/${id}/output/link`)
  for (let i = 0; i < 6; i++) expect((await open(link, {}, app)).status).toBe(200)
  const bad = `/api/executions/${id}/output?ticket=x.y.z`
  const statuses = []
  for (let i = 0; i < 4; i++) statuses.push((await open(bad, {}, app)).status)
  expect(statuses).toEqual([401, 401, 401, 429])
  expect((await open(link, {}, app)).status).toBe(200)
})

test('is never logged', async () => {
  const id = await aRun(owner)
  const link = await sign(owner, `/api/executions/${id}/output/link`)
  owner.logged.length = 0
  await open(link)
  await open(`${link}x`)
  await owner.db
    .updateTable('runs')
    .set({ output: '{"$blob":1}' as never })
    .where('id', '=', id)
    .execute()
  await open(link)
  expect(JSON.stringify(owner.logged)).not.toContain('ticket')
})
