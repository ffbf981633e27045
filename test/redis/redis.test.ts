import { afterAll, describe, inject } from 'vitest'
import { createGuard } from '../../src/runtime/guard.ts'
import { systemClock } from '../../src/runtime/clock.ts'
import { createRedisConnection } from '../../src/runtime/node/redis-client.ts'
import { createRedisKv } from '../../src/runtime/redis/kv.ts'
import { createRedisLimiter } from '../../src/runtime/redis/limiter.ts'
import { describeKv } from '../runtime/kv.suite.ts'
import { describeLimiter } from '../runtime/limiter.suite.ts'
import { kvInCorner, limiterInCorner, newCorner } from '../support/corner.ts'
import { createTestLog } from '../support/log.ts'
import { passInRedis } from '../support/redis-time.ts'

// Two connections, as two processes have them.
const connections = [createRedisConnection(inject('redisUrl')), createRedisConnection(inject('redisUrl'))] as const
afterAll(() => connections.forEach((connection) => connection.close()))
const guard = createGuard({ clock: systemClock, log: createTestLog() }, { name: 'Redis', timeoutMs: 10_000 })

describe('port:kv adapter:redis', () =>
  describeKv(() => {
    const corner = newCorner()
    const [one, other] = connections.map((redis) => kvInCorner(createRedisKv(redis, guard), corner))
    return { one: one!, other: other!, pass: (seconds) => passInRedis(connections[0], corner, seconds) }
  }))

describe('port:limiter adapter:redis', () =>
  describeLimiter(() => {
    const corner = newCorner()
    const [one, other] = connections.map((redis) => limiterInCorner(createRedisLimiter(redis, guard), corner))
    return { one: one!, other: other!, pass: (seconds) => passInRedis(connections[0], corner, seconds) }
  }))
