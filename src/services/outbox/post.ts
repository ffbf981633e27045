import type { EgressOptions, Runtime } from '../../context.ts'
import { EgressError } from '../../lib/egress-error.ts'
import { parseRetryAfter } from '../../lib/retry-after.ts'
import { tryTimeoutMs } from './outbox.ts'

export interface Answer {
  isTaken: boolean
  /** Null: there was no answer, and `failure` tells why. */
  status: number | null
  failure: string | null
  retryAfterMs: number | null
}

/** One try to hand a message to an address of a tenant. Whatever goes wrong is part of the answer. */
export async function post(
  { egress, clock, log }: Pick<Runtime, 'egress' | 'clock' | 'log'>,
  write: () => Request | Promise<Request>,
  options: EgressOptions,
  /** What the log names it by. */
  about: object,
): Promise<Answer> {
  try {
    const response = await egress(await write(), { ...options, timeoutMs: tryTimeoutMs })
    await response.body?.cancel()
    const { status, ok, headers } = response
    return {
      isTaken: ok,
      status,
      failure: null,
      retryAfterMs: parseRetryAfter(Object.fromEntries(headers), clock.now().getTime()),
    }
  } catch (error) {
    // Of our own errors nothing is told: they may name what is not the tenant's.
    const detail = error instanceof EgressError ? error.message : 'The message could not be sent.'
    if (!(error instanceof EgressError)) log.error('A message could not be sent.', { ...about, error })
    return { isTaken: false, status: null, failure: detail.slice(0, 500), retryAfterMs: null }
  }
}
