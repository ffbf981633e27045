import { expect, inject, onTestFinished, test } from 'vitest'
import { systemClock } from '../../src/runtime/clock.ts'
import { createGuard } from '../../src/runtime/guard.ts'
import { createRedisConnection } from '../../src/runtime/node/redis-client.ts'
import { createRedisLimiter } from '../../src/runtime/redis/limiter.ts'
import { createTestApp, testConfig } from '../support/app.ts'
import { createIdentityProvider } from '../support/jwks-server.ts'
import { createTestLog } from '../support/log.ts'
import { signInUser } from '../support/user.ts'

const { database } = await createTestApp()
const provider = await createIdentityProvider()

/** Two processes of one installation: the same database, the same Redis, a connection each. */
async function twoInstances() {
  const config = testConfig({
    ...provider.config,
    rateLimitDefault: { limit: 10, windowSeconds: 3600 },
    rateLimitAuthenticated: { limit: 20, windowSeconds: 3600 },
  })
  const instance = async () => {
    const redis = createRedisConnection(inject('redisUrl'))
    onTestFinished(() => redis.close())
    // Patient, since a machine that is busy would let requests pass.
    const guard = createGuard({ clock: systemClock, log: createTestLog() }, { name: 'Redis', timeoutMs: 15_000 })
    return createTestApp({ database, config, runtime: { limiter: createRedisLimiter(redis, guard) } })
  }
  return [await instance(), await instance()] as const
}

type Send = (instance: 0 | 1) => Response | Promise<Response>
/** How many of forty requests at once, half of them to each instance, were not refused with 429. */
async function passed(send: Send): Promise<number> {
  const answers = await Promise.all(Array.from({ length: 40 }, (_, i) => send((i % 2) as 0 | 1)))
  return answers.filter(({ status }) => status !== 429).length
}

test('a key has one budget, whichever instance it asks', async () => {
  const instances = await twoInstances()
  const { key } = await instances[0].signIn()
  const headers = { 'x-api-key': key }
  expect(await passed((i) => instances[i].app.request('/api/agents', { headers }))).toBe(20)
  const refused = await instances[1].app.request('/api/agents', { headers })
  expect([refused.status, refused.headers.get('ratelimit-limit'), refused.headers.get('ratelimit-remaining')]).toEqual([
    429,
    '20',
    '0',
  ])
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(3000)
})

test('a user has one budget, whichever instance, whichever token', async () => {
  const instances = await twoInstances()
  const sub = `user-${crypto.randomUUID()}`
  const sessions = await Promise.all(instances.map((app) => signInUser(app, provider, { claims: { sub } })))
  // The first request makes the user, and is counted like any other.
  expect((await sessions[0]!.get('/api/agents')).status).toBe(200)
  expect(await passed((i) => sessions[i]!.get('/api/agents'))).toBe(19)
})

test('an address without a credential has one budget, whichever instance it asks', async () => {
  const instances = await twoInstances()
  const octets = crypto.getRandomValues(new Uint8Array(4)).join('.')
  const proxy = { incoming: { socket: { remoteAddress: '10.0.0.1' } } }
  const headers = { 'x-forwarded-for': octets.replace(/^\d+/, '198') }
  expect(await passed((i) => instances[i].app.request('/api/agents', { headers }, proxy))).toBe(10)
})
