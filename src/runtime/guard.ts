import type { Clock, Log } from '../context.ts'
import { AppError } from '../lib/errors.ts'

/** Runs a call of a store that may be away. Where it did not answer, rejects with a problem that says so (503). */
export type Ask = <T>(call: () => Promise<T>) => Promise<T>
export type Guard = Ask & {
  /** Asks also while nobody else waits any more: for probes, which tell what is. */
  insist: Ask
}

/** The store answered: that the call was wrong. */
export class StoreReplyError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'StoreReplyError'
  }
}

export interface GuardOptions {
  /** For the log and in errors: `Redis`. */
  name: string
  /** What one call may take. */
  timeoutMs?: number
  /** After so many failures in a row nobody waits any more. */
  failuresToOpen?: number
  /** How long until one call looks again. */
  pauseMs?: number
}

/**
 * A time limit for each call, and a breaker, so that a store which is away costs its time limit a few times and not with
 * every request. While the breaker is open one call in `pauseMs` goes through and finds out whether the store is back.
 */
export function createGuard(
  { clock, log }: { clock: Pick<Clock, 'monotonicMs'>; log: Log },
  { name, timeoutMs = 500, failuresToOpen = 3, pauseMs = 1_000 }: GuardOptions,
): Guard {
  let failures = 0
  let nextTryMs = 0
  let lastError: unknown

  const away = (cause: unknown) =>
    new AppError('unavailable', `${name} does not answer. Try again.`, { headers: { 'retry-after': '2' }, cause })

  function failed(error: unknown): void {
    failures++
    lastError = error
    nextTryMs = clock.monotonicMs() + pauseMs
    if (failures === failuresToOpen) log.error(`${name} does not answer`, { error })
  }
  function answered(): void {
    if (failures >= failuresToOpen) log.info(`${name} answers again`)
    failures = 0
  }

  const insist: Ask = async (call) => {
    try {
      const result = await within(timeoutMs, call)
      answered()
      return result
    } catch (error) {
      if (error instanceof StoreReplyError) {
        answered()
        throw error
      }
      failed(error)
      throw away(error)
    }
  }
  const ask: Ask = async (call) => {
    if (failures >= failuresToOpen) {
      const nowMs = clock.monotonicMs()
      if (nowMs < nextTryMs) throw away(lastError)
      nextTryMs = nowMs + pauseMs
    }
    return insist(call)
  }
  return Object.assign(ask, { insist })
}

const ticks = 5

function within<T>(timeoutMs: number, call: () => Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    // Counted in ticks, each set by the one before: while the process itself is held up the store is not to blame.
    let ticksLeft = ticks
    const tick = () => {
      if (--ticksLeft === 0) reject(new Error(`No answer within ${timeoutMs} ms.`))
      else timer = setTimeout(tick, timeoutMs / ticks)
    }
    let timer = setTimeout(tick, timeoutMs / ticks)
    call()
      .finally(() => clearTimeout(timer))
      .then(resolve, reject)
  })
}
