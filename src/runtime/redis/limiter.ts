import type { LimitDecision, Limiter } from '../../context.ts'
import type { Ask } from '../guard.ts'
import { createScript, keyPrefix, type RedisCommands } from './commands.ts'
import { limiterScript } from './limiter-script.ts'

const script = createScript(limiterScript)

/** Budgets that every client of the same Redis shares. */
export function createRedisLimiter(redis: RedisCommands, ask: Ask): Limiter {
  const decide = async (
    key: string,
    limit: number,
    windowSeconds: number,
    taking: '0' | '1',
  ): Promise<LimitDecision> => {
    const args = [String(limit), String(windowSeconds * 1000), taking]
    const answer = await ask(() => script(redis, `${keyPrefix}limit:${key}`, args))
    const [allowed, remaining, resetMs] = answer as [number, number, number]
    return { allowed: allowed === 1, limit, remaining, resetSeconds: Math.max(1, Math.ceil(resetMs / 1000)) }
  }
  return {
    take: (key, limit, windowSeconds) => decide(key, limit, windowSeconds, '1'),
    peek: (key, limit, windowSeconds) => decide(key, limit, windowSeconds, '0'),
  }
}
