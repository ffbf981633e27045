import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { systemClock } from '../../src/runtime/clock.ts'
import { createGuard } from '../../src/runtime/guard.ts'
import { createRedisKv } from '../../src/runtime/redis/kv.ts'
import { createRedisLimiter } from '../../src/runtime/redis/limiter.ts'
import { createUpstashCommands } from '../../src/runtime/redis/upstash.ts'
import { describeKv } from '../runtime/kv.suite.ts'
import { describeLimiter } from '../runtime/limiter.suite.ts'
import { kvInCorner, limiterInCorner, newCorner } from '../support/corner.ts'
import { createTestLog } from '../support/log.ts'
import { passInRedis } from '../support/redis-time.ts'
import { openUpstashProxy, type UpstashProxy } from '../support/upstash-proxy.ts'

let proxy: UpstashProxy
beforeAll(async () => void (proxy = await openUpstashProxy(inject('redisUrl'))))
afterAll(() => proxy.close())
const guard = createGuard({ clock: systemClock, log: createTestLog() }, { name: 'Upstash', timeoutMs: 10_000 })
const connect = () => createUpstashCommands(proxy, 10_000)

describe('port:kv adapter:upstash', () =>
  describeKv(() => {
    const corner = newCorner()
    const open = () => kvInCorner(createRedisKv(connect(), guard), corner)
    return { one: open(), other: open(), pass: (seconds) => passInRedis(connect(), corner, seconds) }
  }))

describe('port:limiter adapter:upstash', () =>
  describeLimiter(() => {
    const corner = newCorner()
    const open = () => limiterInCorner(createRedisLimiter(connect(), guard), corner)
    return { one: open(), other: open(), pass: (seconds) => passInRedis(connect(), corner, seconds) }
  }))

test('an error does not repeat the value that was sent', async () => {
  const { command } = connect()
  const key = `automatos:kv:${newCorner()}`
  const failure = await command(['SET', key, 'a-secret-value', 'NONSENSE']).catch((error: Error) => error)
  expect(failure).toBeInstanceOf(Error)
  expect(String((failure as Error).stack)).not.toContain('a-secret-value')
})

test('a token that is not accepted counts as no answer', async () => {
  const stranger = createUpstashCommands({ url: proxy.url, token: 'another' }, 10_000)
  await expect(createRedisKv(stranger, guard).get('k')).rejects.toMatchObject({ kind: 'unavailable' })
})
