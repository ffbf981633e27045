import { createHmac } from 'node:crypto'
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { serve } from '@hono/node-server'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { uuidv7 } from '../../src/lib/ids.ts'
import { signMessage } from '../../src/lib/standard-webhooks.ts'
import { engineOf, runsService } from '../../src/services/runs/index.ts'
import { expireLogs } from '../../src/services/webhooks/expire.ts'
import { createTestApp, testConfig, type Client } from '../support/app.ts'

const app = await createTestApp()
const { signIn, db, runtime } = app
type Body = { [key: string]: any }
const json = async (response: Response) => (await response.json()) as Body
const pointersOf = async (response: Response) =>
  ((await json(response))['errors'] as { pointer: string }[]).map(({ pointer }) => pointer).toSorted()

async function aRecipe(client: Client, more: object = {}): Promise<string> {
  const slug = `recipe-${uuidv7().slice(-12)}`
  const steps = [{ id: 'echo', kind: 'transform', value: { $expr: 'input' } }]
  const response = await client.post('/api/workflow-recipes', { name: 'A recipe', slug, steps, ...more })
  expect(response.status).toBe(201)
  return slug
}
async function aWebhook(client: Client, settings: object = {}, recipe?: object): Promise<Body> {
  const response = await client.post('/api/webhooks', { recipe_id: await aRecipe(client, recipe), ...settings })
  const made = await json(response)
  expect(response.status, JSON.stringify(made)).toBe(201)
  return made
}
async function work() {
  await runsService.tick(runtime)
  await engineOf(runtime).idle()
}
const path = (hook: Body) => `/api/webhooks/recipe/${hook['id']}`
const nowS = () => Math.floor(Date.now() / 1000)
type Sent = { id?: string; at?: number; secret?: string; headers?: Record<string, string>; type?: string }
const deliver = (hook: Body, body: unknown, { id = uuidv7(), at = nowS(), secret, headers, type }: Sent = {}) => {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  const signed = signMessage([secret ?? hook['secret']], { id, timestampS: at, body: text })
  return app.app.request(path(hook), {
    method: 'POST',
    headers: { 'content-type': type ?? 'application/json', ...signed, ...headers },
    body: text,
  })
}
const runOf = (id: string) =>
  db.selectFrom('runs').select(['input', 'trigger', 'workspace_id']).where('id', '=', id).executeTakeFirstOrThrow()
const receiptsOf = async (client: Client, hook: Body) =>
  (await json(await client.get(`/api/webhooks/${hook['id']}/deliveries`)))['items'] as Body[]
const runsOf = ({ workspaceId }: Client) =>
  db.selectFrom('runs').select('id').where('workspace_id', '=', workspaceId).execute()

test('a signed delivery starts a run, and the log tells of it', async () => {
  const client = await signIn()
  const hook = await aWebhook(client)
  const response = await deliver(hook, { order: 7 }, { id: 'evt-1' })
  expect(response.status).toBe(202)
  const answer = await json(response)
  expect(answer).toEqual({
    verdict: 'accepted',
    delivery_id: answer['delivery_id'],
    execution_id: answer['execution_id'],
    status: 'queued',
  })
  expect(response.headers.get('location')).toBe(`/api/executions/${answer['execution_id']}`)
  expect(await runOf(answer['execution_id'])).toEqual({
    workspace_id: client.workspaceId,
    input: { order: 7 },
    trigger: expect.objectContaining({ kind: 'webhook', webhook_id: hook['id'], event_id: 'evt-1' }),
  })
  expect(await receiptsOf(client, hook)).toMatchObject([
    {
      id: answer['delivery_id'],
      event_id: 'evt-1',
      verdict: 'accepted',
      status: 202,
      execution_id: answer['execution_id'],
      size: 11,
      content_type: 'application/json',
    },
  ])
})

test('the secret is told once and stands in no row', async () => {
  const client = await signIn()
  const hook = await aWebhook(client)
  const later = await json(await client.get(`/api/webhooks/${hook['id']}`))
  expect(later).not.toHaveProperty('secret')
  expect(JSON.stringify([later, await json(await client.get('/api/webhooks'))])).not.toContain(hook['secret'])
  const row = await db.selectFrom('webhooks').selectAll().where('id', '=', hook['id']).executeTakeFirstOrThrow()
  expect(JSON.stringify(row)).not.toContain(hook['secret'])
})

test.each([
  ['no proof', () => ({ headers: { 'webhook-signature': '' } })],
  ['another secret', () => ({ secret: `whsec_${btoa('0'.repeat(32))}` })],
  ['an old timestamp', () => ({ at: nowS() - 400 })],
  ['a timestamp to come', () => ({ at: nowS() + 400 })],
  ['a timestamp that was not signed', () => ({ headers: { 'webhook-timestamp': String(nowS() - 10) } })],
  ['an id that was not signed', () => ({ headers: { 'webhook-id': 'evt-other' } })],
])('%s is refused, logged, and starts nothing', async (_, change) => {
  const client = await signIn()
  const hook = await aWebhook(client)
  const response = await deliver(hook, {}, change())
  expect(response.status).toBe(401)
  expect(JSON.stringify(await json(response))).not.toMatch(/timestamp|signature|missing/)
  expect(await runsOf(client)).toEqual([])
  expect(await receiptsOf(client, hook)).toMatchObject([{ verdict: 'rejected', status: 401, redeliverable: false }])
})

test('a stranger cannot fill the log', async () => {
  const client = await signIn()
  const hook = await aWebhook(client)
  for (let i = 0; i < 25; i++) expect((await deliver(hook, {}, { secret: 'whsec_AAAA' })).status).toBe(401)
  expect(await receiptsOf(client, hook)).toHaveLength(20)
  expect((await deliver(hook, {})).status, 'the sender is let in all the same').toBe(202)
})

test('HMAC as GitHub signs, and with a header and a timestamp of their own', async () => {
  const client = await signIn()
  const mac = (secret: string, text: string, encoding: 'hex' | 'base64') =>
    createHmac('sha256', secret).update(text).digest(encoding)
  const send = (hook: Body, headers: Record<string, string>, text = '{"a":1}') =>
    app.app.request(path(hook), {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: text,
    })
  const github = await aWebhook(client, { auth: { mode: 'signature', scheme: 'hmac_sha256' } })
  const secret = github['secret'] as string
  const signature = `sha256=${mac(secret, '{"a":1}', 'hex')}`
  expect((await send(github, { 'x-hub-signature-256': signature })).status).toBe(202)
  expect((await send(github, { 'x-hub-signature-256': signature }, '{"a":2}')).status).toBe(401)
  expect((await send(github, {})).status).toBe(401)

  const auth = {
    mode: 'signature',
    scheme: 'hmac_sha256',
    header: 'X-Sign',
    encoding: 'base64',
    timestamp_header: 'X-Time',
  }
  const own = await aWebhook(client, { auth, secret: 'a secret that the sender gave' })
  const at = String(nowS())
  const sign = mac('a secret that the sender gave', `${at}.{"a":1}`, 'base64')
  expect((await send(own, { 'x-sign': sign, 'x-time': at })).status).toBe(202)
  expect((await send(own, { 'x-sign': sign, 'x-time': String(nowS() - 100) })).status).toBe(401)
  expect((await send(own, { 'x-sign': sign })).status).toBe(401)
})

test('a token in a header or in the address', async () => {
  const client = await signIn()
  const post = (address: string, headers: Record<string, string> = {}) =>
    app.app.request(address, { method: 'POST', headers })
  const inHeader = await aWebhook(client, { auth: { mode: 'header_token', header: 'X-Token' } })
  expect((await post(path(inHeader), { 'x-token': inHeader['secret'] })).status).toBe(202)
  expect((await post(path(inHeader), { 'x-token': 'another' })).status).toBe(401)
  expect((await post(`${path(inHeader)}?token=${encodeURIComponent(inHeader['secret'])}`)).status).toBe(401)
  const inAddress = await aWebhook(client, { auth: { mode: 'url_token' } })
  expect((await post(`${path(inAddress)}?token=${encodeURIComponent(inAddress['secret'])}`)).status).toBe(202)
  expect((await post(path(inAddress))).status).toBe(401)
  expect(JSON.stringify(app.logged)).not.toContain(inAddress['secret'])
})

test.each([{ mode: 'signature' }, { mode: 'signature', scheme: 'hmac_sha256' }, { mode: 'url_token' }])(
  'the curl command that creation answers works as it is: %j',
  async (auth) => {
    const server = serve({ fetch: (request) => app.app.fetch(request), port: 0, hostname: '127.0.0.1' })
    onTestFinished(() => void server.close())
    await new Promise((resolve) => server.once('listening', resolve))
    const apiUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const here = await createTestApp({ database: app.database, config: { ...testConfig(), apiUrl } })
    const hook = await aWebhook(here, { auth })
    const { stdout } = await promisify(execFile)('sh', ['-c', `${hook['curl']} -s`])
    const { verdict, execution_id } = JSON.parse(stdout) as Body
    expect(verdict).toBe('accepted')
    expect((await runOf(execution_id)).input).toEqual({ hello: 'world' })
  },
)

test('of one event there is one run, however often and however much at once it is sent', async () => {
  const client = await signIn()
  const hook = await aWebhook(client)
  const answers = await Promise.all(Array.from({ length: 6 }, () => deliver(hook, { n: 1 }, { id: 'evt-1' })))
  expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 200, 200, 200, 200, 202])
  const bodies = await Promise.all(answers.map(json))
  expect(new Set(bodies.map((body) => body['execution_id'])).size).toBe(1)
  expect(await runsOf(client)).toHaveLength(1)
  expect((await deliver(hook, { n: 1 }, { id: 'evt-2' })).status).toBe(202)
  const other = await aWebhook(client)
  expect((await deliver(other, { n: 1 }, { id: 'evt-1' })).status, 'the event of another webhook').toBe(202)
  expect((await receiptsOf(client, hook)).filter(({ verdict }) => verdict === 'duplicate')).toHaveLength(5)
})

test('the filter decides what starts a run', async () => {
  const client = await signIn()
  const hook = await aWebhook(client, { filter: "body.type == 'paid' && headers['x-shop'] == 'north'" })
  const send = (type: string) => deliver(hook, { type }, { headers: { 'x-shop': 'north' } })
  expect(await json(await send('paid'))).toMatchObject({ verdict: 'accepted' })
  const kept = await send('refunded')
  expect([kept.status, await json(kept)]).toMatchObject([200, { verdict: 'filtered', execution_id: null }])
  const broken = await deliver(hook, { other: 1 }, { id: 'evt-9' })
  expect(broken.status).toBe(422)
  expect(await runsOf(client)).toHaveLength(1)
  // What could not be decided has not been taken: once the filter is mended the sender may come again.
  await client.patch(`/api/webhooks/${hook['id']}`, { filter: null })
  expect((await deliver(hook, { other: 1 }, { id: 'evt-9' })).status).toBe(202)
})

test('the mapping makes the input, and the recipe has the last word on it', async () => {
  const client = await signIn()
  const hook = await aWebhook(
    client,
    { input_mapping: { id: { $expr: 'body.data.id' }, note: 'From {{ query.shop }}: {{ body.data.id }}' } },
    { inputs: { type: 'object', properties: { id: { type: 'integer' } }, required: ['id'] } },
  )
  const send = (data: object) =>
    app.app.request(`${path(hook)}?shop=north`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...signMessage([hook['secret']], { id: uuidv7(), timestampS: nowS(), body: JSON.stringify({ data }) }),
      },
      body: JSON.stringify({ data }),
    })
  const { execution_id } = await json(await send({ id: 7 }))
  expect((await runOf(execution_id)).input).toEqual({ id: 7, note: 'From north: 7' })
  const refused = await send({ id: 'seven' })
  expect(refused.status).toBe(422)
  expect((await receiptsOf(client, hook))[0]).toMatchObject({
    verdict: 'rejected',
    reason: expect.stringContaining('/input/id'),
    redeliverable: true,
  })
})

test.each([
  ['application/json', '[1,2]', { body: [1, 2] }],
  ['application/x-www-form-urlencoded', 'a=1&b=x&b=y', { a: '1', b: ['x', 'y'] }],
  ['text/plain', 'hello', { body: 'hello' }],
  ['application/xml', '<a/>', { body: '<a/>' }],
])('a body of %s', async (type, text, input) => {
  const hook = await aWebhook(await signIn())
  const { execution_id } = await json(await deliver(hook, text, { type }))
  expect((await runOf(execution_id)).input).toEqual(input)
})

test.each([
  ['multipart/mixed; boundary=x', '--x--', 415],
  ['multipart/form-data; boundary=x', 'no form', 400],
  ['application/json', '{', 400],
  ['application/json', `"${'x'.repeat(2000)}"`, 413],
])('what cannot be read is refused: %s', async (type, text, status) => {
  const client = await signIn()
  const hook = await aWebhook(client, { max_body_bytes: 1000 })
  expect((await deliver(hook, text, { type })).status).toBe(status)
  expect(await receiptsOf(client, hook)).toMatchObject([{ verdict: 'rejected', status }])
})

test('a webhook has a limit of its own, and the address of the sender pays nothing', async () => {
  const limited = await createTestApp({
    database: app.database,
    config: { rateLimitDefault: { limit: 3, windowSeconds: 60 } },
  })
  const hook = await aWebhook(limited, { rate_limit: 5 })
  const send = () =>
    limited.app.request(path(hook), {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...signMessage([hook['secret']], { id: uuidv7(), timestampS: nowS(), body: '{}' }),
      },
      body: '{}',
    })
  for (let i = 0; i < 5; i++) expect((await send()).status).toBe(202)
  const over = await send()
  expect(over.status).toBe(429)
  expect(Number(over.headers.get('retry-after'))).toBeGreaterThan(0)
  // Who is refused pays, as with a bad key.
  const guess = () => limited.app.request(path(hook), { method: 'POST', body: '{}' })
  const statuses: number[] = []
  for (let i = 0; i < 5; i++) statuses.push((await guess()).status)
  expect(statuses).toEqual([401, 401, 401, 429, 429])
})

test('whoever has spent the budget of its address is turned away before a body is read', async () => {
  const limited = await createTestApp({
    database: app.database,
    config: { rateLimitDefault: { limit: 3, windowSeconds: 60 } },
  })
  const hook = await aWebhook(limited, { auth: { mode: 'signature', scheme: 'hmac_sha256' } })
  let pulled = 0
  const send = () => {
    const body = new ReadableStream(
      {
        pull(controller) {
          pulled++
          controller.enqueue(new Uint8Array(1000))
          if (pulled % 3 === 0) controller.close()
        },
      },
      { highWaterMark: 0 },
    )
    const headers = { 'x-hub-signature-256': 'sha256=00' }
    return limited.app.request(path(hook), { method: 'POST', headers, body, duplex: 'half' } as RequestInit)
  }
  const statuses: number[] = []
  for (let i = 0; i < 3; i++) statuses.push((await send()).status)
  expect([statuses, pulled]).toEqual([[401, 401, 401], 9])
  const refused = await send()
  expect([refused.status, pulled]).toEqual([429, 9])
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
  expect(refused.headers.get('ratelimit-remaining')).toBe('0')
})

test('of a stranger no more is read than the webhook takes, and without a signature nothing', async () => {
  const client = await signIn()
  const hmac = await aWebhook(client, {
    auth: { mode: 'signature', scheme: 'hmac_sha256' },
    max_body_bytes: 1000,
  })
  const token = await aWebhook(client, { auth: { mode: 'header_token' } })
  const post = async (hook: Body, headers: Record<string, string>) => {
    let pulled = 0
    const body = new ReadableStream(
      {
        pull(controller) {
          pulled += 600
          controller.enqueue(new Uint8Array(600))
          if (pulled > 60_000) controller.close()
        },
      },
      { highWaterMark: 0 },
    )
    const init = { method: 'POST', headers, body, duplex: 'half' } as RequestInit
    return [(await app.app.request(path(hook), init)).status, pulled]
  }
  const signed = { 'x-hub-signature-256': 'sha256=00' }
  // The counter of the pipeline is a piece or two ahead.
  const [status, pulled] = await post(hmac, signed)
  expect(status).toBe(413)
  expect(pulled).toBeLessThanOrEqual(3000)
  expect(await post(hmac, { ...signed, 'content-length': '60600' })).toEqual([413, 0])
  expect((await post(hmac, {}))[0]).toBe(401)
  const [refused, unread] = await post(token, { 'x-webhook-token': 'another' })
  expect(refused).toBe(401)
  expect(unread).toBeLessThanOrEqual(1200)
})

test('what is too large costs the address, as it comes before the sender is known', async () => {
  const limited = await createTestApp({
    database: app.database,
    config: { rateLimitDefault: { limit: 2, windowSeconds: 60 } },
  })
  const hook = await aWebhook(limited, { max_body_bytes: 10 })
  const headers = { 'webhook-id': 'a', 'webhook-timestamp': String(nowS()), 'webhook-signature': 'v1,00' }
  const send = () => limited.app.request(path(hook), { method: 'POST', headers, body: 'x'.repeat(11) })
  expect([(await send()).status, (await send()).status, (await send()).status]).toEqual([413, 413, 429])
})

test('the webhooks of a workspace share a budget, and there are a hundred at most', async () => {
  const client = await signIn()
  const recipe_id = await aRecipe(client)
  const create = () => client.post('/api/webhooks', { recipe_id })
  const hook = await json(await create())
  for (let i = 0; i < 10_000; i++) await runtime.limiter.take(`webhooks:${client.workspaceId}`, 10_000, 60)
  const over = await deliver(hook, {})
  expect([over.status, (await json(over))['detail']]).toEqual([429, expect.stringContaining('together')])
  expect((await deliver(await aWebhook(await signIn()), {})).status, 'another workspace').toBe(202)
  for (let i = 1; i < 99; i++) expect((await create()).status).toBe(201)
  const last = await Promise.all([create(), create(), create()])
  expect(last.map(({ status }) => status).toSorted()).toEqual([201, 409, 409])
  await client.del(`/api/webhooks/${hook['id']}`)
  expect((await create()).status).toBe(201)
})

test('what starts executions takes the right to start them', async () => {
  const owner = await signIn()
  const hook = await aWebhook(owner, { auth: { mode: 'header_token' } })
  const headers = { 'x-webhook-token': hook['secret'] as string }
  const { delivery_id } = await json(await app.app.request(path(hook), { method: 'POST', headers }))
  const scopes = ['webhooks:read', 'webhooks:write', 'executions:read']
  const lesser = await signIn({ workspace: owner.workspaceId, scopes })
  const answers = [
    await lesser.post('/api/webhooks', { recipe_id: hook['recipe_id'] }),
    await lesser.patch(`/api/webhooks/${hook['id']}`, { rate_limit: 2 }),
    await lesser.post(`/api/webhooks/${hook['id']}/rotate-secret`),
    await lesser.post(`/api/webhooks/${hook['id']}/deliveries/${delivery_id}/redeliver`),
  ]
  for (const answer of answers)
    expect([answer.status, (await json(answer))['detail']]).toEqual([403, expect.stringContaining('recipes:execute')])
  expect(await runsOf(owner)).toHaveLength(1)
  expect((await lesser.del(`/api/webhooks/${hook['id']}`)).status).toBe(204)
})

test('a webhook tells the output only where each who made or changed it may read executions', async () => {
  const owner = await signIn()
  const recipe_id = await aRecipe(owner)
  const scopes = ['webhooks:read', 'webhooks:write', 'recipes:execute']
  const lesser = await signIn({ workspace: owner.workspaceId, scopes })
  const make = async (by: Client) => json(await by.post('/api/webhooks', { recipe_id }))
  const blind = await make(lesser)
  await owner.patch(`/api/webhooks/${blind['id']}`, { name: 'Still blind' })
  const changed = await make(owner)
  await lesser.patch(`/api/webhooks/${changed['id']}`, { rate_limit: 30 })
  const rotated = await make(owner)
  const { secret } = await json(await lesser.post(`/api/webhooks/${rotated['id']}/rotate-secret`))
  for (const hook of [blind, changed, { ...rotated, secret }]) {
    const answer = await deliver(hook, { n: 1 }, { headers: { prefer: 'wait=30' } })
    expect([answer.status, await json(answer)]).toEqual([
      202,
      expect.not.objectContaining({ output: expect.anything() }),
    ])
  }
})

test('where the body alone is signed a captured delivery is no new event under another id', async () => {
  const client = await signIn()
  const hook = await aWebhook(client, { auth: { mode: 'signature', scheme: 'hmac_sha256' } })
  const send = (id: string | null, text: string, change = (signature: string) => signature) => {
    const signature = createHmac('sha256', hook['secret']).update(text).digest('hex')
    const named: Record<string, string> = id === null ? {} : { 'x-github-delivery': id }
    const headers = {
      ...named,
      'content-type': 'application/json',
      'x-hub-signature-256': change(`sha256=${signature}`),
    }
    return app.app.request(path(hook), { method: 'POST', headers, body: text })
  }
  const first = await json(await send('evt-1', '{"n":1}'))
  for (const again of [
    await send('evt-2', '{"n":1}'),
    await send(null, '{"n":1}'),
    await send('evt-3', '{"n":1}', (signature) => `sha256=${signature.slice(7).toUpperCase()}`),
    await send('evt-1', '{"n":1,"attempt":2}'),
  ])
    expect([again.status, await json(again)]).toMatchObject([
      200,
      { verdict: 'duplicate', execution_id: first['execution_id'] },
    ])
  expect((await send('evt-2', '{"n":2}')).status, 'an id that a copy was given is not used up').toBe(202)
  const many = await Promise.all(Array.from({ length: 5 }, (_, i) => send(`at-once-${i}`, '{"n":3}')))
  expect(many.map(({ status }) => status).toSorted()).toEqual([200, 200, 200, 200, 202])
  expect(await runsOf(client)).toHaveLength(3)
})

test('a sender that waits is told how its run ended', async () => {
  const client = await signIn()
  const hook = await aWebhook(client, {}, { output: { $expr: 'steps.echo.output.n * 2' } })
  const answer = deliver(hook, { n: 21 }, { headers: { prefer: 'wait=30' } })
  await expect.poll(async () => (await runsOf(client)).length).toBe(1)
  await work()
  const response = await answer
  expect(response.status).toBe(200)
  expect(response.headers.get('preference-applied')).toBe('wait=30')
  const body = await json(response)
  expect(body).toMatchObject({ verdict: 'accepted', status: 'succeeded', output: 42, error: null })
  expect(body).not.toHaveProperty('steps')
})

test('both secrets are valid while one takes the place of the other', async () => {
  const own = await createTestApp()
  const hook = await aWebhook(own)
  const send = (secret: string) => {
    const headers = signMessage([secret], { id: uuidv7(), timestampS: nowS(), body: '{}' })
    return own.app.request(path(hook), {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: '{}',
    })
  }
  const rotated = await own.post(`/api/webhooks/${hook['id']}/rotate-secret`, { keep_previous: '1h' })
  expect(rotated.status).toBe(200)
  const { secret, previous_secret_until } = await json(rotated)
  expect(secret).not.toBe(hook['secret'])
  expect(previous_secret_until).not.toBeNull()
  expect([(await send(secret)).status, (await send(hook['secret'])).status]).toEqual([202, 202])
  await own.db
    .updateTable('webhooks')
    .set({ previous_until: new Date(0) })
    .execute()
  expect([(await send(secret)).status, (await send(hook['secret'])).status]).toEqual([202, 401])
})

test('a delivery runs again with the webhook as it is now', async () => {
  const client = await signIn()
  const hook = await aWebhook(client, { filter: 'body.missing == 1' })
  const { id } = (await deliver(hook, { n: 1 }, { id: 'evt-1' }).then(() => receiptsOf(client, hook)))[0]!
  await client.patch(`/api/webhooks/${hook['id']}`, { filter: null })
  const again = () => client.post(`/api/webhooks/${hook['id']}/deliveries/${id}/redeliver`)
  const [first, second] = [await again(), await again()]
  expect([first.status, second.status]).toEqual([202, 202])
  expect((await runOf((await json(first))['execution_id'])).input).toEqual({ n: 1 })
  expect(await runsOf(client)).toHaveLength(2)
  expect((await receiptsOf(client, hook)).filter((receipt) => receipt['redelivery_of'] === id)).toHaveLength(2)
  await deliver(hook, {}, { secret: 'whsec_AAAA' })
  const [refused] = await receiptsOf(client, hook)
  expect((await client.post(`/api/webhooks/${hook['id']}/deliveries/${refused!['id']}/redeliver`)).status).toBe(409)
})

test('one that is switched off or deleted is not there; GET tells nothing', async () => {
  const client = await signIn()
  const hook = await aWebhook(client)
  expect([404, 405]).toContain((await app.app.request(path(hook))).status)
  const missing = await app.app.request(`/api/webhooks/recipe/${uuidv7()}`, { method: 'POST' })
  await client.patch(`/api/webhooks/${hook['id']}`, { active: false })
  const off = await deliver(hook, {})
  expect([missing.status, off.status]).toEqual([404, 404])
  await client.patch(`/api/webhooks/${hook['id']}`, { active: true })
  expect((await deliver(hook, {})).status).toBe(202)
  expect((await client.del(`/api/webhooks/${hook['id']}`)).status).toBe(204)
  expect((await deliver(hook, {})).status).toBe(404)
})

test('faults of a webhook are told at once, by pointer', async () => {
  const client = await signIn()
  const recipe_id = await aRecipe(client)
  const create = (more: object) => client.post('/api/webhooks', { recipe_id, ...more })
  expect(
    await pointersOf(
      await create({ filter: 'input.a ==', input_mapping: { a: '{{ steps.x }}', b: { $expr: 'nothing.here' } } }),
    ),
  ).toEqual(expect.arrayContaining(['/filter', '/input_mapping/a', '/input_mapping/b/$expr']))
  expect(await pointersOf(await create({ input_mapping: { a: "{{ secret('tracker.token') }}" } }))).toContain(
    '/input_mapping/a',
  )
  expect(await pointersOf(await create({ secret: 'this is no key at all' }))).toEqual(['/secret'])
  expect(await pointersOf(await create({ auth: { mode: 'signature', header: 'X-Sign' } }))).toEqual(['/auth/header'])
  expect((await client.post('/api/webhooks', { recipe_id: 'nothing-like-it' })).status).toBe(404)
})

test('another workspace finds none of it', async () => {
  const hook = await aWebhook(await signIn())
  const stranger = await signIn()
  for (const answer of [
    await stranger.get(`/api/webhooks/${hook['id']}`),
    await stranger.patch(`/api/webhooks/${hook['id']}`, { active: false }),
    await stranger.del(`/api/webhooks/${hook['id']}`),
    await stranger.get(`/api/webhooks/${hook['id']}/deliveries`),
    await stranger.post(`/api/webhooks/${hook['id']}/rotate-secret`),
  ])
    expect(answer.status).toBe(404)
  expect((await json(await stranger.get('/api/webhooks')))['items']).toEqual([])
})

test('the log is kept for thirty days', async () => {
  const own = await createTestApp()
  const hook = await aWebhook(own)
  const body = '{}'
  const headers = signMessage([hook['secret']], { id: 'evt-1', timestampS: nowS(), body })
  await own.app.request(path(hook), { method: 'POST', headers, body })
  expect(await expireLogs(own.runtime)).toEqual({ done: 0, more: false })
  await own.database.shiftClock({ seconds: 30 * 86_400 + 60 })
  expect(await expireLogs(own.runtime)).toEqual({ done: 1, more: false })
})
