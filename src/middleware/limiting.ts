import type { LimitDecision } from '../context.ts'
import { AppError } from '../lib/errors.ts'
import type { LimiterState } from '../services/metrics/limiter-state.ts'
import type { Exchange } from './exchange.ts'

/** Puts a decision where the headers of a layer are made from. */
type Note = (exchange: Exchange, decision: LimitDecision) => void

/**
 * Takes `weight` from a budget and throws `rate-limited` when it is spent. Synchronous where the limiter is. A limiter that
 * throws lets the request pass and leaves its trace in `state`.
 */
export function counted(
  state: LimiterState,
  exchange: Exchange,
  key: string,
  limit: number,
  windowSeconds: number,
  note: Note,
  weight = 1,
): void | Promise<void> {
  let taken
  try {
    taken = exchange.runtime.limiter.take(key, limit, windowSeconds, weight)
  } catch (error) {
    return state.failed(exchange.runtime, error)
  }
  if (!(taken instanceof Promise)) return apply(exchange, taken, note)
  return taken.then(
    (decision) => apply(exchange, decision, note),
    (error: unknown) => state.failed(exchange.runtime, error),
  )
}

/** The same question, asked without taking: throws where the budget is spent, and notes nothing where it is not. */
export async function requireLeft(
  state: LimiterState,
  exchange: Exchange,
  key: string,
  limit: number,
  windowSeconds: number,
  note: Note,
): Promise<void> {
  let decision
  try {
    decision = await exchange.runtime.limiter.peek(key, limit, windowSeconds)
  } catch (error) {
    return state.failed(exchange.runtime, error)
  }
  if (!decision.allowed) apply(exchange, decision, note)
}

function apply(exchange: Exchange, decision: LimitDecision, note: Note): void {
  note(exchange, decision)
  if (!decision.allowed) throw tooManyRequests(decision)
}

const tooManyRequests = ({ limit, resetSeconds }: LimitDecision) =>
  new AppError(
    'rate-limited',
    `Too many requests: ${limit} are allowed. Try again in ${Math.max(1, resetSeconds)} s.`,
    {
      headers: { 'retry-after': String(Math.max(1, resetSeconds)) },
    },
  )
