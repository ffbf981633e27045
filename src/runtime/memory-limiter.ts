import type { Clock, Limiter } from '../context.ts'
import { decide, weightOf, windowAt, type Window } from './sliding-window.ts'

// About 100 bytes each.
const defaultMaxKeys = 100_000

/**
 * A sliding window in two counters a key: the running window, and the one before it weighted by how much of it still
 * overlaps the last `windowSeconds`. Synchronous, so any number of concurrent takes is counted exactly. When full, the key
 * that was longest without a new window goes first.
 */
export function createMemoryLimiter(clock: Pick<Clock, 'monotonicMs'>, maxKeys = defaultMaxKeys): Limiter {
  const windows = new Map<string, Window>()
  return {
    take(key, limit, windowSeconds, weight = 1) {
      const nowMs = clock.monotonicMs()
      const windowMs = windowSeconds * 1000
      const known = windows.get(key)
      const window = windowAt(known, windowMs, nowMs)
      const taking = weightOf(weight, limit)
      const decision = decide(window, limit, windowMs, nowMs, taking)
      if (decision.allowed) window.current += taking
      if (known !== window) {
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
      return decide(windowAt(windows.get(key), windowMs, nowMs), limit, windowMs, nowMs, 0)
    },
  }
}
