import type { ComponentHealth, Runtime } from '../../context.ts'

/** The trace that a failing limiter leaves: requests pass, /health tells. */
export interface LimiterState {
  failed(runtime: Pick<Runtime, 'clock' | 'log'>, error: unknown): void
  health(nowMs: number): ComponentHealth
}

// A failure is shown for as long as the window it left open may be.
const shownForMs = 60_000

export function createLimiterState(): LimiterState {
  let lastFailureMs: number | null = null
  let failures = 0
  return {
    failed({ clock, log }, error) {
      const nowMs = clock.monotonicMs()
      failures++
      // One line per window: a limiter that is down fails on every request.
      if (lastFailureMs === null || nowMs - lastFailureMs > shownForMs) {
        log.error('The rate limiter failed; requests pass unlimited.', { error: messageOf(error) })
      }
      lastFailureMs = nowMs
    },
    health(nowMs) {
      if (lastFailureMs === null || nowMs - lastFailureMs > shownForMs) return { status: 'healthy' }
      return { status: 'degraded', detail: `The limiter failed ${failures} times; requests pass unlimited.` }
    },
  }
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error))
