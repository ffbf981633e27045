import { describe, expect, test } from 'vitest'
import type { Config } from '../../src/config.ts'
import type { Limiter } from '../../src/context.ts'
import { createMemoryLimiter } from '../../src/runtime/memory-limiter.ts'
import { createTestApp, type KeyOptions } from '../support/app.ts'
import { createIdentityProvider } from '../support/jwks-server.ts'
import { things } from '../support/things.ts'

const { database } = await createTestApp({ groups: [things] })
const provider = await createIdentityProvider()
const config = {
  ...provider.config,
  rateLimitDefault: { limit: 3, windowSeconds: 60 },
  rateLimitAuthenticated: { limit: 5, windowSeconds: 60 },
}
const proxy = { incoming: { socket: { remoteAddress: '10.0.0.1' } } }

async function limited(limiter?: Limiter, more: Partial<Config> = {}) {
  let nowMs = 0
  const clock = { now: () => new Date(nowMs), monotonicMs: () => nowMs }
  const app = await createTestApp({
    groups: [things],
    database,
    config: { ...config, ...more },
    runtime: { limiter: limiter ?? createMemoryLimiter(clock) },
  })
  const from = (address: string, headers: Record<string, string> = {}, path = '/api/things') =>
    app.app.request(path, { headers: { 'x-forwarded-for': address, ...headers } }, proxy)
  const statuses = async (count: number, send: () => Promise<Response>) => {
    const seen = []
    for (let i = 0; i < count; i++) seen.push((await send()).status)
    return seen
  }
  const keyOf = async (options?: KeyOptions) => (await app.signIn(options)).key
  return { ...app, from, statuses, keyOf, pass: (seconds: number) => void (nowMs += seconds * 1000) }
}

test('without a credential the address pays', async () => {
  const { from, statuses, pass } = await limited()
  expect(await statuses(4, () => from('192.0.2.1'))).toEqual([401, 401, 401, 429])
  expect((await from('192.0.2.2')).status).toBe(401)
  pass(120)
  expect((await from('192.0.2.1')).status).toBe(401)
})

test('a failed authentication costs its address, a good key does not, and is not stopped by it', async () => {
  const { from, statuses, keyOf } = await limited()
  const wrong = { authorization: `Bearer ak_srv_${'0'.repeat(64)}` }
  expect(await statuses(4, () => from('192.0.2.1', wrong))).toEqual([401, 401, 401, 429])
  const right = { authorization: `Bearer ${await keyOf()}` }
  expect(await statuses(5, () => from('192.0.2.1', right))).toEqual([200, 200, 200, 200, 200])
})

test('one tenant never spends what another has', async () => {
  const { from, statuses, keyOf } = await limited()
  const one = { 'x-api-key': await keyOf() }
  const other = { 'x-api-key': await keyOf() }
  expect(await statuses(6, () => from('192.0.2.1', one))).toEqual([200, 200, 200, 200, 200, 429])
  expect((await from('192.0.2.1', other)).status).toBe(200)
})

test('a user pays for itself, whatever its token and its address', async () => {
  const { from, statuses } = await limited()
  const sub = `user-${crypto.randomUUID()}`
  const as = async (claims: Record<string, string>) => ({ authorization: `Bearer ${await provider.token({ claims })}` })
  const [first, second, other] = [await as({ sub }), await as({ sub, jti: 'another' }), await as({ sub: `${sub}-2` })]
  expect(await statuses(3, () => from('192.0.2.1', first))).toEqual([200, 200, 200])
  expect(await statuses(3, () => from('192.0.2.2', second))).toEqual([200, 200, 429])
  expect((await from('192.0.2.1', other)).status).toBe(200)
})

test('a token that is not valid costs its address', async () => {
  const { from, statuses } = await limited()
  const expired = { authorization: `Bearer ${await provider.token({ claims: { exp: 1 } })}` }
  expect(await statuses(4, () => from('192.0.2.1', expired))).toEqual([401, 401, 401, 429])
})

describe('a workspace with a limit for all of it', () => {
  const rateLimitWorkspace = { limit: 7, windowSeconds: 60 }

  test('lets its keys together make no more, and shows the limit that is reached first', async () => {
    const { from, statuses, keyOf, signIn, pass } = await limited(undefined, { rateLimitWorkspace })
    const { workspaceId, key } = await signIn()
    const one = { 'x-api-key': key }
    const two = { 'x-api-key': (await signIn({ workspace: workspaceId })).key }
    const first = await from('192.0.2.1', one)
    expect([first.headers.get('ratelimit-limit'), first.headers.get('ratelimit-remaining')]).toEqual(['5', '4'])
    expect(await statuses(5, () => from('192.0.2.1', one))).toEqual([200, 200, 200, 200, 429])
    const second = await from('192.0.2.1', two)
    expect([second.headers.get('ratelimit-limit'), second.headers.get('ratelimit-remaining')]).toEqual(['7', '1'])
    expect(await statuses(2, () => from('192.0.2.1', two))).toEqual([200, 429])
    expect((await from('192.0.2.1', { 'x-api-key': await keyOf() })).status, 'another workspace').toBe(200)
    pass(120)
    expect((await from('192.0.2.1', two)).status).toBe(200)
  })

  test('counts nothing that a limit of the key has refused', async () => {
    const { from, statuses, signIn } = await limited(undefined, { rateLimitWorkspace })
    const { workspaceId, key } = await signIn({ rateLimit: 1 })
    const other = { 'x-api-key': (await signIn({ workspace: workspaceId })).key }
    await statuses(20, () => from('192.0.2.1', { 'x-api-key': key }))
    expect(await statuses(5, () => from('192.0.2.1', other))).toEqual([200, 200, 200, 200, 200])
  })

  test('counts users and keys alike, also with a limiter that answers later', async () => {
    const memory = createMemoryLimiter({ monotonicMs: () => 0 })
    const later: Limiter = {
      take: async (...args) => memory.take(...args),
      peek: async (...args) => memory.peek(...args),
    }
    const { from, statuses, signIn } = await limited(later, { rateLimitWorkspace: { limit: 2, windowSeconds: 60 } })
    const { key } = await signIn()
    expect(await statuses(3, () => from('192.0.2.1', { 'x-api-key': key }))).toEqual([200, 200, 429])
  })
})

test('a request that asks a model weighs more', async () => {
  const { from, statuses, keyOf } = await limited()
  const key = { 'x-api-key': await keyOf() }
  expect((await from('192.0.2.1', key, '/api/things/dear')).headers.get('ratelimit-remaining')).toBe('2')
  expect(await statuses(2, () => from('192.0.2.1', key, '/api/things/dear'))).toEqual([429, 429])
  expect(await statuses(3, () => from('192.0.2.1', key))).toEqual([200, 200, 429])
})

test('a key may have a limit of its own', async () => {
  const { from, statuses, keyOf } = await limited()
  const key = { 'x-api-key': await keyOf({ rateLimit: 2 }) }
  expect(await statuses(3, () => from('192.0.2.1', key))).toEqual([200, 200, 429])
})

test('a credential that nobody checks buys nothing on a public route', async () => {
  const { from, statuses } = await limited()
  const send = () => from('192.0.2.1', { authorization: 'Bearer whatever' }, '/api/things/open')
  expect(await statuses(4, send)).toEqual([200, 200, 200, 429])
})

test('paths that do not exist are not free', async () => {
  const { from, statuses } = await limited()
  expect(await statuses(4, () => from('192.0.2.1', {}, '/wp-login.php'))).toEqual([404, 404, 404, 429])
})

test('a refusal is a problem that says when to come again, and then it is granted', async () => {
  const { from, statuses, keyOf, pass } = await limited()
  const key = { 'x-api-key': await keyOf() }
  await statuses(5, () => from('192.0.2.1', key))
  const refused = await from('192.0.2.1', key)
  expect(refused.headers.get('content-type')).toBe('application/problem+json')
  expect(await refused.json()).toMatchObject({ type: '/problems/rate-limited', status: 429 })
  const { headers } = refused
  expect(['ratelimit-limit', 'ratelimit-remaining', 'ratelimit-reset'].map((name) => headers.get(name))).toEqual([
    '5',
    '0',
    headers.get('retry-after'),
  ])
  pass(Number(headers.get('retry-after')) - 1)
  expect((await from('192.0.2.1', key)).status).toBe(429)
  pass(1)
  expect((await from('192.0.2.1', key)).status).toBe(200)
})

test('a request that carries a key shows the budget of the key, not of its address', async () => {
  const { from, keyOf } = await limited()
  const { headers } = await from('192.0.2.1', { 'x-api-key': await keyOf() })
  expect([headers.get('ratelimit-limit'), headers.get('ratelimit-remaining')]).toEqual(['5', '4'])
})

test('a preflight is free', async () => {
  const { app, from } = await limited()
  for (let i = 0; i < 5; i++) {
    const asked = await app.request(
      '/api/things',
      {
        method: 'OPTIONS',
        headers: {
          origin: 'https://console.example',
          'access-control-request-method': 'GET',
          'x-forwarded-for': '192.0.2.1',
        },
      },
      proxy,
    )
    expect(asked.status).toBe(204)
  }
  expect((await from('192.0.2.1')).headers.get('ratelimit-remaining')).toBe('2')
})

test('RateLimit headers tell what is left', async () => {
  const { from } = await limited()
  const { headers } = await from('192.0.2.1', {}, '/api/things/open')
  expect([headers.get('ratelimit-limit'), headers.get('ratelimit-remaining'), headers.get('ratelimit-reset')]).toEqual([
    '3',
    '2',
    '60',
  ])
})

test('a limiter that is down lets everything pass, and /health tells', async () => {
  const down: Limiter[] = [
    {
      take: () => {
        throw new Error('connection refused')
      },
      peek: () => {
        throw new Error('connection refused')
      },
    },
    { take: () => Promise.reject(new Error('timeout')), peek: () => Promise.reject(new Error('timeout')) },
  ]
  for (const limiter of down) {
    const whole = await createTestApp({ database, config, runtime: { limiter } })
    const seen = []
    for (let i = 0; i < 5; i++) seen.push((await whole.app.request('/api/agents')).status)
    expect(seen).toEqual([401, 401, 401, 401, 401])
    const health = (await (await whole.app.request('/health')).json()) as { status: string; components: object }
    expect(health).toMatchObject({ status: 'degraded', components: { limiter: { status: 'degraded' } } })
    expect(whole.logged.filter((line) => line.message.includes('limiter'))).toHaveLength(1)
  }
})

test('a limiter that answers later is waited for', async () => {
  const memory = createMemoryLimiter({ monotonicMs: () => 0 })
  const { from, statuses, keyOf } = await limited({
    take: async (...args) => memory.take(...args),
    peek: async (...args) => memory.peek(...args),
  })
  expect(await statuses(4, () => from('192.0.2.1'))).toEqual([401, 401, 401, 429])
  const key = { 'x-api-key': await keyOf({ rateLimit: 1 }) }
  expect(await statuses(2, () => from('192.0.2.1', key))).toEqual([200, 429])
})

test('health and static files are never limited', async () => {
  const assets = async () => ({ bytes: new Uint8Array([1]), mediaType: 'text/css' })
  const whole = await createTestApp({ database, config, runtime: { assets } })
  for (const path of ['/health', '/health/live', '/health/ready', '/', '/metrics', '/docs/swagger-ui.css']) {
    for (let i = 0; i < 5; i++) expect((await whole.app.request(path)).status, path).toBe(200)
  }
})
