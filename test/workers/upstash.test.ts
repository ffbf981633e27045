import { describe, inject } from 'vitest'
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
import './support/provided.ts'

const upstash = inject('upstash')
const guard = createGuard({ clock: systemClock, log: createTestLog() }, { name: 'Upstash', timeoutMs: 15_000 })
const connect = () => createUpstashCommands(upstash!, 15_000)

describe.skipIf(upstash === null)('port:kv adapter:upstash', () =>
  describeKv(() => {
    const corner = newCorner()
    const open = () => kvInCorner(createRedisKv(connect(), guard), corner)
    return { one: open(), other: open(), pass: (seconds) => passInRedis(connect(), corner, seconds) }
  }),
)

describe.skipIf(upstash === null)('port:limiter adapter:upstash', () =>
  describeLimiter(() => {
    const corner = newCorner()
    const open = () => limiterInCorner(createRedisLimiter(connect(), guard), corner)
    return { one: open(), other: open(), pass: (seconds) => passInRedis(connect(), corner, seconds) }
  }),
)
