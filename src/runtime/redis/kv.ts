import type { Kv } from '../../context.ts'
import type { Ask } from '../guard.ts'
import { createScript, keyPrefix, type RedisCommands } from './commands.ts'

// The life of a counter begins with the command that made it.
const addScript = createScript(`
local value = redis.call('INCRBY', KEYS[1], ARGV[1])
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return value
`)

/** Values that every client of the same Redis sees. */
export function createRedisKv(redis: RedisCommands, ask: Ask): Kv {
  const command = (...args: string[]) => ask(() => redis.command(args))
  const at = (key: string) => `${keyPrefix}kv:${key}`
  return {
    async get(key) {
      return (await command('GET', at(key))) as string | null
    },
    async set(key, value, ttlSeconds) {
      await command('SET', at(key), value, 'PX', inMs(ttlSeconds))
    },
    async setIfAbsent(key, value, ttlSeconds) {
      return (await command('SET', at(key), value, 'PX', inMs(ttlSeconds), 'NX')) !== null
    },
    async increment(key, by, ttlSeconds) {
      return (await ask(() => addScript(redis, at(key), [String(by), inMs(ttlSeconds)]))) as number
    },
    async delete(key) {
      await command('DEL', at(key))
    },
  }
}

/** Redis refuses a life of nothing. */
const inMs = (seconds: number) => String(Math.max(1, Math.round(seconds * 1000)))
