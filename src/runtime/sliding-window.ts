import type { LimitDecision } from '../context.ts'

/** Two counters: the running window, and the one before it. */
export interface Window {
  startMs: number
  current: number
  previous: number
}

/** The window that `nowMs` falls into: the known one, the one right after it, or a new one. */
export function windowAt(known: Window | undefined, windowMs: number, nowMs: number): Window {
  if (known === undefined) return { startMs: nowMs, current: 0, previous: 0 }
  const age = nowMs - known.startMs
  if (age < windowMs) return known
  if (age < 2 * windowMs) return { startMs: known.startMs + windowMs, current: 0, previous: known.current }
  return { startMs: nowMs, current: 0, previous: 0 }
}

/** What a request counts: nobody can take more than there ever is. */
export const weightOf = (weight: number, limit: number): number => Math.min(weight, limit)

/** `taking` is what an allowed request will count, 0 where one of weight 1 is only asked about. */
export function decide(window: Window, limit: number, windowMs: number, nowMs: number, taking: number): LimitDecision {
  const asked = Math.max(1, taking)
  const elapsed = (nowMs - window.startMs) / windowMs
  const used = window.previous * (1 - elapsed) + window.current
  const allowed = used + asked <= limit
  return {
    allowed,
    limit,
    remaining: Math.max(0, Math.floor(limit - used - (allowed ? taking : 0))),
    resetSeconds: Math.max(1, Math.ceil(msUntilTurn(window, limit, windowMs, nowMs, allowed, asked) / 1000)),
  }
}

/** Until the window turns; for a refused caller, until what was asked for fits again. */
function msUntilTurn(
  window: Window,
  limit: number,
  windowMs: number,
  nowMs: number,
  allowed: boolean,
  asked: number,
): number {
  const toTurn = window.startMs + windowMs - nowMs
  if (allowed) return toTurn
  // Within this window only the weight of the previous one falls away.
  if (window.current + asked <= limit && window.previous > 0) {
    const elapsedNeeded = 1 - (limit - asked - window.current) / window.previous
    return Math.max(0, window.startMs + elapsedNeeded * windowMs - nowMs)
  }
  return toTurn + Math.max(0, 1 - (limit - asked) / window.current) * windowMs
}
