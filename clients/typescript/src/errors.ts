import type { Fault, Problem } from './generated/types.gen.ts'

/** The server answered, and not with what was asked for. `message` is a sentence that may be shown. */
export class ApiError extends Error {
  readonly status: number
  /** Last segment of the problem's type: `not-found`, `invalid`, `conflict`; null where the answer was no problem document. */
  readonly kind: string | null
  readonly problem: Problem | null
  /** The body as it came: JSON where it was JSON, else text. */
  readonly body: unknown
  readonly headers: Headers

  constructor(response: Response, body: unknown) {
    const problem = isProblem(body) ? body : null
    super(problem?.detail ?? `The server answered ${response.status} ${response.statusText}`.trimEnd())
    this.name = 'ApiError'
    this.status = response.status
    this.kind = problem?.type.split('/').at(-1) ?? null
    this.problem = problem
    this.body = body
    this.headers = response.headers
  }

  /** Every fault of the input, by JSON pointer. */
  get faults(): Fault[] {
    return this.problem?.errors ?? []
  }

  get requestId(): string | null {
    return this.problem?.request_id ?? this.headers.get('x-request-id')
  }

  /** What the server asks to wait before the next attempt. */
  get retryAfterSeconds(): number | null {
    const header = this.headers.get('retry-after')
    return header !== null && /^\d+$/.test(header) ? Number(header) : null
  }
}

/** No answer came: nothing listens there, the name is unknown, or the connection broke. */
export class UnreachableError extends Error {
  readonly url: string

  constructor(url: string, cause: unknown) {
    super(`No answer from ${url}`, { cause })
    this.name = 'UnreachableError'
    this.url = url
  }
}

function isProblem(body: unknown): body is Problem {
  if (typeof body !== 'object' || body === null) return false
  const { type, detail } = body as Partial<Problem>
  return typeof type === 'string' && typeof detail === 'string'
}
