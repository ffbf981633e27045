import type { Kv, Limiter } from '../../src/context.ts'

/** One of many corners of a store that all tests share. */
export const newCorner = (): string => crypto.randomUUID()

export function kvInCorner(kv: Kv, corner: string): Kv {
  const at = (key: string) => `${corner}:${key}`
  return {
    get: (key) => kv.get(at(key)),
    set: (key, value, ttlSeconds) => kv.set(at(key), value, ttlSeconds),
    setIfAbsent: (key, value, ttlSeconds) => kv.setIfAbsent(at(key), value, ttlSeconds),
    increment: (key, by, ttlSeconds) => kv.increment(at(key), by, ttlSeconds),
    delete: (key) => kv.delete(at(key)),
  }
}

export function limiterInCorner(limiter: Limiter, corner: string): Limiter {
  const at = (key: string) => `${corner}:${key}`
  return {
    take: (key, limit, windowSeconds, weight) => limiter.take(at(key), limit, windowSeconds, weight),
    peek: (key, limit, windowSeconds) => limiter.peek(at(key), limit, windowSeconds),
  }
}
