import { expect, inject, onTestFinished, test } from 'vitest'
import { Secret } from '../../src/lib/secret.ts'
import { systemClock } from '../../src/runtime/clock.ts'
import { openProcessStore } from '../../src/runtime/node/shared-store.ts'
import { createTestApp, testConfig } from '../support/app.ts'
import { newCorner } from '../support/corner.ts'
import { createTestLog } from '../support/log.ts'
import { openRelay } from '../support/relay.ts'
import { things } from '../support/things.ts'

const { database } = await createTestApp({ groups: [things] })

/** An app whose Redis is reached by a way that the test can cut. A key may make three requests an hour. */
async function appOnRedis() {
  const relay = await openRelay(inject('redisUrl'))
  const config = testConfig({
    redisUrl: new Secret(relay.url),
    rateLimitAuthenticated: { limit: 3, windowSeconds: 3600 },
  })
  const store = openProcessStore(config, { clock: systemClock, log: createTestLog() })
  onTestFinished(() => store.close())
  const app = await createTestApp({
    database,
    config,
    runtime: { kv: store.kv, limiter: store.limiter, probes: store.probes },
  })
  const spend = async (count: number) => {
    const { get } = await app.signIn()
    const statuses = []
    for (let i = 0; i < count; i++) statuses.push((await get('/api/agents')).status)
    return statuses
  }
  const health = async () => {
    const answer = await app.app.request('/health')
    const body = (await answer.json()) as { status: string; components: Record<'kv' | 'limiter', { status: string }> }
    return [answer.status, body.status, body.components.kv.status, body.components.limiter.status]
  }
  return { relay, store, app, spend, health }
}
const limited = [200, 200, 200, 429]
const unlimited = [200, 200, 200, 200]

test('nothing connects before it is used, and everything uses one connection', async () => {
  const { relay, store, spend } = await appOnRedis()
  expect(relay.connections).toBe(0)
  await Promise.allSettled([store.kv.get(newCorner()), store.kv.set(newCorner(), 'v', 10), spend(2)])
  expect(relay.connections).toBe(1)
})

test('a Redis that is not there yet stops nothing, and is used once it comes', async () => {
  const { relay, store, spend, health } = await appOnRedis()
  await relay.cut()
  expect(await spend(4)).toEqual(unlimited)
  expect(await health()).toEqual([200, 'degraded', 'unhealthy', 'degraded'])
  await expect(store.kv.get('k')).rejects.toMatchObject({ kind: 'unavailable', headers: { 'retry-after': '2' } })
  await relay.restore()
  await expect.poll(() => spend(4), { timeout: 15_000 }).toEqual(limited)
  await expect.poll(async () => (await store.probes.kv!()).status, { timeout: 15_000 }).toBe('healthy')
})

test('a Redis that is stopped under way fails open and comes back by itself', async () => {
  const { relay, store, spend, health } = await appOnRedis()
  await expect.poll(() => spend(4), { timeout: 15_000 }).toEqual(limited)
  const key = newCorner()
  await store.kv.set(key, 'kept', 60)
  await relay.cut()
  expect(await spend(8)).toEqual([...unlimited, ...unlimited])
  expect(await health()).toEqual([200, 'degraded', 'unhealthy', 'degraded'])
  await relay.restore()
  await expect.poll(() => spend(4), { timeout: 15_000 }).toEqual(limited)
  expect(await store.kv.get(key)).toBe('kept')
})

test('a Redis that no longer says a word holds up nobody for long, and is dropped for a new connection', async () => {
  const { relay, spend } = await appOnRedis()
  await expect.poll(() => spend(4), { timeout: 15_000 }).toEqual(limited)
  relay.mute()
  // Each of these would wait half a second, were it not known by then that nothing comes.
  for (const status of await spend(200)) expect([200, 429]).toContain(status)
  await expect.poll(() => spend(4), { timeout: 15_000 }).toEqual(limited)
  expect(relay.connections).toBe(2)
})

test('/health names the store, and tells what failed lately', async () => {
  const { app, store, relay, spend } = await appOnRedis()
  const components = async () =>
    ((await (await app.app.request('/health')).json()) as { components: Record<string, object> }).components
  expect(await components()).toMatchObject({
    kv: { status: 'healthy', detail: 'Redis', latency_ms: expect.any(Number) as number },
    limiter: { status: 'healthy', detail: 'Redis', latency_ms: expect.any(Number) as number },
  })
  await relay.cut()
  await spend(1)
  expect(await components()).toMatchObject({
    kv: { status: 'unhealthy', detail: 'Redis does not answer' },
    limiter: {
      status: 'degraded',
      detail: expect.stringMatching(
        /^Redis does not answer; requests pass unlimited\. The limiter failed: requests that passed unlimited: \d+, the last \d s ago/,
      ) as string,
    },
  })
  await relay.restore()
  // Probes ask whatever the breaker says, so both tell of the return at once.
  await expect.poll(async () => (await store.probes.kv!()).status, { timeout: 15_000 }).toBe('healthy')
  expect((await store.probes.limiter!()).status).toBe('healthy')
  expect(await components()).toMatchObject({
    kv: { status: 'healthy' },
    limiter: { detail: expect.stringMatching(/^Redis\. The limiter failed: /) as string },
  })
})
