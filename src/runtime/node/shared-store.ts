import type { Config } from '../../config.ts'
import type { Clock, Log } from '../../context.ts'
import { createGuard } from '../guard.ts'
import { createMemoryKv } from '../memory-kv.ts'
import { createMemoryLimiter } from '../memory-limiter.ts'
import { createRedisKv } from '../redis/kv.ts'
import { createRedisLimiter } from '../redis/limiter.ts'
import { guardedStore, sharedStore, type SharedStore } from '../shared-store.ts'
import { openUpstashStore } from '../upstash-store.ts'
import { createRedisConnection } from './redis-client.ts'

export interface ProcessStore extends SharedStore {
  close(): void
}

/** Redis, else Upstash, else this process alone. Nothing is connected before it is used. */
export function openProcessStore(config: Config, parts: { clock: Clock; log: Log }): ProcessStore {
  if (config.redisUrl !== null) {
    const redis = createRedisConnection(config.redisUrl.reveal())
    const guard = createGuard(parts, { name: 'Redis' })
    const store = guardedStore('Redis', guard, (ask) => ({
      kv: createRedisKv(redis, ask),
      limiter: createRedisLimiter(redis, ask),
    }))
    return { ...store, close: () => redis.close() }
  }
  const store =
    openUpstashStore(config, parts) ??
    sharedStore('in process', { kv: createMemoryKv(parts.clock), limiter: createMemoryLimiter(parts.clock) })
  return { ...store, close() {} }
}
