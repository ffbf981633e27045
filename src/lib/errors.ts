/**
 * The closed list of what can go wrong for a caller. The kind is public: it is the last segment of a
 * problem's `type` (`/problems/not-found`), so kinds are added freely and never renamed.
 */
export const problemTypes = {
  malformed: { status: 400, title: 'The request could not be read' },
  unauthenticated: { status: 401, title: 'Authentication required' },
  forbidden: { status: 403, title: 'Not allowed' },
  'limit-reached': { status: 403, title: 'The limit of the plan is reached' },
  'not-found': { status: 404, title: 'Not found' },
  'method-not-allowed': { status: 405, title: 'Method not allowed' },
  conflict: { status: 409, title: 'Conflict with the current state' },
  'request-in-progress': { status: 409, title: 'The first request is still in progress' },
  'precondition-failed': { status: 412, title: 'Changed in the meantime' },
  'too-large': { status: 413, title: 'Request body too large' },
  'unsupported-media-type': { status: 415, title: 'Unsupported media type' },
  invalid: { status: 422, title: 'Invalid input' },
  'idempotency-key-reused': { status: 422, title: 'The key was used for another request' },
  'rate-limited': { status: 429, title: 'Too many requests' },
  'budget-exceeded': { status: 429, title: 'The budget is spent' },
  'headers-too-large': { status: 431, title: 'Request headers too large' },
  internal: { status: 500, title: 'Internal error' },
  'upstream-failed': { status: 502, title: 'An upstream service failed' },
  unavailable: { status: 503, title: 'Service unavailable' },
  'not-configured': { status: 503, title: 'Not configured' },
  'model-not-configured': { status: 503, title: 'No model is configured' },
  'schema-behind': { status: 503, title: 'The database schema is behind' },
  timeout: { status: 504, title: 'Timed out' },
} as const satisfies Record<string, { status: number; title: string }>

export type ProblemKind = keyof typeof problemTypes

/** One fault of the input: where (RFC 6901 JSON pointer) and what. */
export interface Fault {
  pointer: string
  detail: string
}

/**
 * An expected failure. `detail` is shown to the caller, so it never carries SQL, secrets or stacks.
 * Anything else that is thrown is a bug and answers a bare 500.
 */
export class AppError extends Error {
  readonly kind: ProblemKind
  readonly detail: string
  readonly errors: Fault[] | undefined
  readonly headers: Record<string, string> | undefined

  constructor(
    kind: ProblemKind,
    detail: string,
    options: { errors?: Fault[]; headers?: Record<string, string>; cause?: unknown } = {},
  ) {
    super(detail, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'AppError'
    this.kind = kind
    this.detail = detail
    this.errors = options.errors
    this.headers = options.headers
  }
}
