import type { Clock, LimitDecision, Limiter } from '../context.ts'

interface Window {
  startMs: number
  current: number
  previous: number
}

// About 100 bytes each.
const defaultMaxKeys = 100_000

/**
 * A sliding window in two counters a key: the running window, and the one before it weighted by how much of it still
 * overlaps the last `windowSeconds`. Synchronous, so any number of concurrent takes is counted exactly. When full, the key
 * that was longest without a new window goes first.
 */
export function createMemoryLimiter(clock: Pick<Clock, 'monotonicMs'>, maxKeys = defaultMaxKeys): Limiter {
  const windows = new Map<string, Window>()

  function windowOf(key: string, windowMs: number, nowMs: number): Window {
    const known = windows.get(key)
    if (known !== undefined && nowMs - known.startMs < windowMs) return known
    const age = known === undefined ? Infinity : nowMs - known.startMs
    const startMs = nowMs - (age === Infinity ? 0 : age % windowMs)
    return { startMs, current: 0, previous: known !== undefined && age < 2 * windowMs ? known.current : 0 }
  }

  function decide(window: Window, limit: number, windowMs: number, nowMs: number, taking: number): LimitDecision {
    const elapsed = (nowMs - window.startMs) / windowMs
    const used = window.previous * (1 - elapsed) + window.current
    const allowed = used + 1 <= limit
    return {
      allowed,
      limit,
      remaining: Math.max(0, Math.floor(limit - used - (allowed ? taking : 0))),
      resetSeconds: Math.max(1, Math.ceil(msUntilTurn(window, limit, windowMs, nowMs, allowed) / 1000)),
    }
  }

  return {
    take(key, limit, windowSeconds) {
      const nowMs = clock.monotonicMs()
      const windowMs = windowSeconds * 1000
      const window = windowOf(key, windowMs, nowMs)
      const decision = decide(window, limit, windowMs, nowMs, 1)
      if (decision.allowed) window.current++
      if (windows.get(key) !== window) {
        // Moved to the end: the order of the map is the order of eviction.
        windows.delete(key)
        if (windows.size >= maxKeys) windows.delete(windows.keys().next().value!)
        windows.set(key, window)
      }
      return decision
    },
    peek(key, limit, windowSeconds) {
      const nowMs = clock.monotonicMs()
      const windowMs = windowSeconds * 1000
      return decide(windowOf(key, windowMs, nowMs), limit, windowMs, nowMs, 0)
    },
  }
}

/** Until the window turns; for a refused caller, until one request fits again. */
function msUntilTurn(window: Window, limit: number, windowMs: number, nowMs: number, allowed: boolean): number {
  const toTurn = window.startMs + windowMs - nowMs
  if (allowed) return toTurn
  // Within this window only the weight of the previous one falls away.
  if (window.current + 1 <= limit && window.previous > 0) {
    const elapsedNeeded = 1 - (limit - 1 - window.current) / window.previous
    return Math.max(0, window.startMs + elapsedNeeded * windowMs - nowMs)
  }
  return toTurn + Math.max(0, 1 - (limit - 1) / window.current) * windowMs
}
