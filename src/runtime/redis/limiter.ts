import type { LimitDecision, Limiter } from '../../context.ts'
import type { Ask } from '../guard.ts'
import { createScript, keyPrefix, type RedisCommands } from './commands.ts'
import { weightOf } from '../sliding-window.ts'
import { limiterScript } from './limiter-script.ts'

const script = createScript(limiterScript)

/** Budgets that every client of the same Redis shares. */
export function createRedisLimiter(redis: RedisCommands, ask: Ask): Limiter {
  const decide = async (key: string, limit: number, windowSeconds: number, taking: number): Promise<LimitDecision> => {
    const args = [String(limit), String(windowSeconds * 1000), String(taking)]
    const answer = await ask(() => script(redis, `${keyPrefix}limit:${key}`, args))
    const [allowed, remaining, resetMs] = answer as [number, number, number]
    return { allowed: allowed === 1, limit, remaining, resetSeconds: Math.max(1, Math.ceil(resetMs / 1000)) }
  }
  return {
    take: (key, limit, windowSeconds, weight = 1) => decide(key, limit, windowSeconds, weightOf(weight, limit)),
    peek: (key, limit, windowSeconds) => decide(key, limit, windowSeconds, 0),
  }
}
