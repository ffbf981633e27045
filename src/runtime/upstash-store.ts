import type { Config } from '../config.ts'
import type { Clock, Log } from '../context.ts'
import { createGuard } from './guard.ts'
import { createRedisKv } from './redis/kv.ts'
import { createRedisLimiter } from './redis/limiter.ts'
import { createUpstashCommands } from './redis/upstash.ts'
import { guardedStore, type SharedStore } from './shared-store.ts'

/** Null where no Upstash is configured. */
export function openUpstashStore(
  { upstashRedisRestUrl: url, upstashRedisRestToken: token }: Config,
  parts: { clock: Clock; log: Log },
): SharedStore | null {
  if (url === null || token === null) return null
  const redis = createUpstashCommands({ url, token: token.reveal() })
  const guard = createGuard(parts, { name: 'Upstash' })
  return guardedStore('Upstash', guard, (ask) => ({
    kv: createRedisKv(redis, ask),
    limiter: createRedisLimiter(redis, ask),
  }))
}
