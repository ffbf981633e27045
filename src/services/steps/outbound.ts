import { EgressError, type EgressErrorKind } from '../../lib/egress-error.ts'
import { parseRetryAfter } from '../../lib/retry-after.ts'
import { exchange, InvalidRequestError, type InboundAnswer, type OutboundRequest } from '../http/exchange.ts'
import { StepError, type StepContext } from '../runs/step-executor.ts'

const maxResponseBytes = 10 * 1024 * 1024
/** Statuses after which the same request may succeed later; so do all of 5xx. */
const retryableStatuses = new Set([408, 425, 429])

/** What a request needs of whoever makes it. */
type Sender = Pick<StepContext, 'ctx' | 'signal'>

/** A request of a step through the egress guard. Whatever goes wrong below HTTP becomes the step's error. */
export async function sendOutbound(
  request: OutboundRequest,
  credential: string | undefined,
  context: Sender,
): Promise<InboundAnswer> {
  try {
    return await exchange(context.ctx, request, {
      workspaceId: context.ctx.actor.workspaceId,
      signal: context.signal,
      maxResponseBytes,
      ...(credential !== undefined && { credential }),
    })
  } catch (error) {
    if (error instanceof InvalidRequestError) {
      throw new StepError('http-invalid-request', error.message, { retryable: false })
    }
    if (error instanceof EgressError) {
      const { kind, retryable } = egressFailures[error.kind]
      throw new StepError(kind, error.message, { retryable, cause: error })
    }
    throw error
  }
}

const egressFailures: Record<EgressErrorKind, { kind: string; retryable: boolean }> = {
  'egress-refused': { kind: 'egress-refused', retryable: false },
  'egress-failed': { kind: 'http-network', retryable: true },
  'egress-timeout': { kind: 'http-timeout', retryable: true },
  'egress-too-large': { kind: 'http-too-large', retryable: false },
}

/** The error of a step whose server answered with a status that it does not accept. */
export function statusError({ status, headers }: InboundAnswer, context: Pick<Sender, 'ctx'>): StepError {
  const retryAfterMs = parseRetryAfter(Object.fromEntries(headers), context.ctx.clock.now().getTime())
  return new StepError('http-status', `The server answered ${status}.`, {
    status,
    retryable: retryableStatuses.has(status) || status >= 500,
    ...(retryAfterMs !== null && { retryAfterMs }),
  })
}
