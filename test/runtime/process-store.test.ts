import { expect, onTestFinished, test } from 'vitest'
import { parseConfig } from '../../src/config.ts'
import { systemClock } from '../../src/runtime/clock.ts'
import { openProcessStore } from '../../src/runtime/node/shared-store.ts'
import { createTestLog } from '../support/log.ts'

// Port 9 is "discard": nothing answers there.
const redis = { REDIS_URL: 'redis://127.0.0.1:9' }
const upstash = { UPSTASH_REDIS_REST_URL: 'http://127.0.0.1:9', UPSTASH_REDIS_REST_TOKEN: 'token' }

function openWith(env: Record<string, string>) {
  const store = openProcessStore(parseConfig(env), { clock: systemClock, log: createTestLog() })
  onTestFinished(() => store.close())
  return store
}

test('a process without a shared store counts by itself, without a promise', async () => {
  const { limiter, probes } = openWith({})
  expect(limiter.take('k', 2, 60)).toMatchObject({ allowed: true, remaining: 1 })
  expect(await probes.kv!()).toEqual({ status: 'healthy', detail: 'in process' })
  expect(await probes.limiter!()).toEqual({ status: 'healthy', detail: 'in process' })
})

test.each([
  ['Redis', { ...redis, ...upstash }],
  ['Redis', { REDIS_HOST: '127.0.0.1', REDIS_PORT: '9' }],
  ['Upstash', upstash],
])('%s is used where it is configured, and never replaced by the process while it is away', async (name, env) => {
  const { kv, limiter, probes } = openWith(env)
  await expect(kv.get('k')).rejects.toMatchObject({
    kind: 'unavailable',
    detail: `${name} does not answer. Try again.`,
  })
  await expect(limiter.take('k', 2, 60)).rejects.toMatchObject({ kind: 'unavailable' })
  expect(await probes.kv!()).toEqual({ status: 'unhealthy', detail: `${name} does not answer` })
})
