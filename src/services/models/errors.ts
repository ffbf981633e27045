import { APICallError, JSONParseError, TypeValidationError } from '@ai-sdk/provider'
import { AppError, type ProblemKind } from '../../lib/errors.ts'
import { parseRetryAfter } from '../../lib/retry-after.ts'

export type ModelErrorKind =
  | 'model-rate-limited'
  | 'upstream-failed'
  | 'model-timeout'
  | 'model-refused'
  | 'model-malformed'
  | 'model-not-configured'
  | 'attachment-unsupported'

/** Asked once more, they would be the same. */
const final: ReadonlySet<ModelErrorKind> = new Set(['model-refused', 'model-not-configured', 'attachment-unsupported'])

/** Why a model gave no answer. The message is our own text: a provider's may quote the key or the prompt. */
export class ModelError extends Error {
  readonly kind: ModelErrorKind
  /** What the provider answered; null where it did not. */
  readonly status: number | null
  readonly retryable: boolean
  readonly retryAfterMs: number | null
  /** Another model of the chain may be asked instead. */
  readonly fallback: boolean

  constructor(
    kind: ModelErrorKind,
    message: string,
    options: { status?: number | null; retryAfterMs?: number | null; fallback?: boolean; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'ModelError'
    this.kind = kind
    this.status = options.status ?? null
    this.retryable = !final.has(kind)
    this.retryAfterMs = options.retryAfterMs ?? null
    this.fallback = options.fallback ?? false
  }
}

/** What went wrong in a provider call, in our words. `who` names provider and model. */
export function toModelError(error: unknown, who: string, nowMs: number): ModelError {
  if (error instanceof ModelError) return error
  if (APICallError.isInstance(error) && isMalformed(error.cause)) return malformed(who)
  if (isMalformed(error)) return malformed(who)
  const status = statusOf(error)
  if (status === null) return new ModelError('upstream-failed', `${who} could not be reached.`, { fallback: true })
  const headers = APICallError.isInstance(error) ? error.responseHeaders : undefined
  const options = { status, retryAfterMs: parseRetryAfter(headers ?? {}, nowMs) }
  if (status === 429) {
    return new ModelError('model-rate-limited', `${who} is rate limited (429).`, { ...options, fallback: true })
  }
  if (status === 408 || status === 504) {
    return new ModelError('model-timeout', `${who} timed out (${status}).`, { ...options, fallback: true })
  }
  if (status >= 500)
    return new ModelError('upstream-failed', `${who} failed (${status}).`, { ...options, fallback: true })
  if (status >= 400) {
    return new ModelError(
      'model-refused',
      `${who} refused the request (${status}): ${refusals[status] ?? 'bad request'}.`,
      options,
    )
  }
  return malformed(who)
}

const malformed = (who: string) => new ModelError('model-malformed', `${who} sent an answer that could not be read.`)

const refusals: Record<number, string> = {
  401: 'the API key is not accepted',
  402: 'the account has no credit',
  403: 'the API key may not use this model',
  404: 'no such model or URL',
  413: 'the prompt is too long',
}

const isMalformed = (error: unknown): boolean =>
  JSONParseError.isInstance(error) || TypeValidationError.isInstance(error)

/** The HTTP status of a failed call, or the one that a provider puts into an error within its stream. */
function statusOf(error: unknown): number | null {
  if (typeof error !== 'object' || error === null) return 502
  if (APICallError.isInstance(error)) return error.statusCode ?? null
  const { statusCode, code } = error as { statusCode?: unknown; code?: unknown }
  if (typeof statusCode === 'number') return statusCode
  if (typeof code === 'number' && code >= 400 && code < 600) return code
  // An Error here is the transport's; a plain object is an error event of the provider that names no status.
  return error instanceof Error ? null : 502
}

const problemKinds = {
  'model-rate-limited': 'rate-limited',
  'upstream-failed': 'upstream-failed',
  'model-timeout': 'timeout',
  'model-refused': 'upstream-failed',
  'model-malformed': 'upstream-failed',
  'model-not-configured': 'model-not-configured',
  'attachment-unsupported': 'invalid',
} as const satisfies Record<ModelErrorKind, ProblemKind>

/** For callers over HTTP. */
export function modelProblem(error: ModelError): AppError {
  const headers =
    error.retryAfterMs === null ? undefined : { 'retry-after': String(Math.ceil(error.retryAfterMs / 1000)) }
  return new AppError(problemKinds[error.kind], error.message, { ...(headers && { headers }), cause: error })
}
