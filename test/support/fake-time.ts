import type { Clock } from '../../src/context.ts'
import type { After } from '../../src/runtime/supervisor.ts'

/** Time that stands still until a test moves it; timers fire on the way, in their order. */
export function createFakeTime(start = '2026-01-01T00:00:00Z') {
  const startMs = Date.parse(start)
  let elapsedMs = 0
  const timers = new Set<{ atMs: number; callback: () => void }>()
  const after: After = (ms, callback) => {
    const timer = { atMs: elapsedMs + ms, callback }
    timers.add(timer)
    return () => void timers.delete(timer)
  }
  const clock: Clock = { now: () => new Date(startMs + elapsedMs), monotonicMs: () => elapsedMs }
  /** Lets promises that are ready run on, which may set new timers. */
  const settle = async () => {
    for (let i = 0; i < 20; i++) await Promise.resolve()
  }
  return {
    after,
    clock,
    settle,
    pendingTimers: () => timers.size,
    async advance(ms: number) {
      const endMs = elapsedMs + ms
      for (;;) {
        await settle()
        const [next] = [...timers].filter(({ atMs }) => atMs <= endMs).sort((a, b) => a.atMs - b.atMs)
        if (!next) break
        timers.delete(next)
        elapsedMs = Math.max(elapsedMs, next.atMs)
        next.callback()
      }
      elapsedMs = endMs
    },
  }
}
