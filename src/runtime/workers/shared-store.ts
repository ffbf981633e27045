import type { Config } from '../../config.ts'
import type { Clock, Kv, Limiter, Log } from '../../context.ts'
import { shardOf } from '../../lib/shard.ts'
import { createGuard, type Ask } from '../guard.ts'
import { guardedStore, type SharedStore } from '../shared-store.ts'
import { openUpstashStore } from '../upstash-store.ts'
import type { Bindings } from './bindings.ts'

// One object answers about a thousand requests a second.
const shards = 32
// An object that sleeps has to be woken, on another continent perhaps.
const timeoutMs = 2_000

/** Upstash where it is configured, else Durable Objects. */
export function openWorkerStore(
  config: Config,
  bindings: Pick<Bindings, 'KV' | 'LIMITER'>,
  parts: { clock: Clock; log: Log },
): SharedStore {
  const upstash = openUpstashStore(config, parts)
  if (upstash !== null) return upstash
  const guard = createGuard(parts, { name: 'The Durable Object', timeoutMs })
  return guardedStore('Durable Object', guard, (ask) => ({
    kv: createDurableKv(bindings.KV, ask),
    limiter: createDurableLimiter(bindings.LIMITER, ask),
  }))
}

export function createDurableLimiter(objects: Bindings['LIMITER'], ask: Ask): Limiter {
  const shard = (key: string) => objects.get(objects.idFromName(shardName(key)))
  return {
    take: (key, limit, windowSeconds, weight) => ask(async () => shard(key).take(key, limit, windowSeconds, weight)),
    peek: (key, limit, windowSeconds) => ask(async () => shard(key).peek(key, limit, windowSeconds)),
  }
}

export function createDurableKv(objects: Bindings['KV'], ask: Ask): Kv {
  const shard = (key: string) => objects.get(objects.idFromName(shardName(key)))
  return {
    get: (key) => ask(async () => shard(key).get(key)),
    set: (key, value, ttlSeconds) => ask(async () => shard(key).set(key, value, ttlSeconds)),
    setIfAbsent: (key, value, ttlSeconds) => ask(async () => shard(key).setIfAbsent(key, value, ttlSeconds)),
    async increment(key, by, ttlSeconds) {
      const result = await ask(async () => shard(key).increment(key, by, ttlSeconds))
      if (result === null) throw new TypeError('The value is not a counter.')
      return result
    },
    delete: (key) => ask(async () => shard(key).delete(key)),
  }
}

const shardName = (key: string): string => `shard-${shardOf(key, shards)}`
