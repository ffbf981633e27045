import { hostname } from 'node:os'
import type { ProcessFigures } from '../../context.ts'

/** What this process can tell of itself; of the event loop's lag the longest since the last look is kept. */
export function processFigures(): { read(): ProcessFigures; observeLag(ms: number): void } {
  const host = hostname()
  let longestMs: number | null = null
  return {
    observeLag(ms) {
      longestMs = Math.max(longestMs ?? 0, ms)
    },
    read() {
      const lag = longestMs === null ? null : Math.round(longestMs * 10) / 10
      longestMs = null
      return {
        host,
        pid: process.pid,
        uptime_ms: Math.round(process.uptime() * 1000),
        memory_bytes: process.memoryUsage.rss(),
        event_loop_lag_ms: lag,
      }
    },
  }
}
