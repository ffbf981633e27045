import type { ComponentHealth, Runtime } from '../../context.ts'

/** The trace that a failing limiter leaves: requests pass, /health tells. */
export interface LimiterState {
  failed(runtime: Pick<Runtime, 'clock' | 'log' | 'measures'>, error: unknown): void
  /** What was measured just now, together with what requests have met lately. */
  health(nowMs: number, measured?: ComponentHealth): ComponentHealth
}

// Told for as long as the window that a failure left open may be; degraded only as long as it may still be going on.
const toldForMs = 60_000
const degradedForMs = 10_000

export function createLimiterState(): LimiterState {
  let lastFailureMs = -Infinity
  let failures = 0
  return {
    failed({ clock, log, measures }, error) {
      const nowMs = clock.monotonicMs()
      measures?.limiterFailures.add(1)
      // One line an outage: a limiter that is down fails on every request.
      if (nowMs - lastFailureMs > toldForMs) {
        failures = 0
        log.error('The rate limiter failed; requests pass unlimited.', { error: messageOf(error) })
      }
      failures++
      lastFailureMs = nowMs
    },
    health(nowMs, measured = { status: 'healthy' }) {
      const sinceMs = nowMs - lastFailureMs
      if (sinceMs > toldForMs) return measured
      const trace = `The limiter failed: requests that passed unlimited: ${failures}, the last ${Math.round(sinceMs / 1000)} s ago.`
      return {
        ...measured,
        status: measured.status === 'healthy' && sinceMs <= degradedForMs ? 'degraded' : measured.status,
        detail: measured.detail === undefined ? trace : `${measured.detail}. ${trace}`,
      }
    },
  }
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error))
