import type { Runtime, ServiceContext } from '../context.ts'
import type { Operation, Reply } from '../lib/operation.ts'
import { answerOnce } from '../services/idempotency/answer-once.ts'

interface Input {
  params: unknown
  query: unknown
  headers: unknown
  body: unknown
  request: Request
}
type KeyHeader = { 'idempotency-key'?: string }
type AnyHandler<I extends Input> = (ctx: Runtime | ServiceContext, input: I) => Reply | Promise<Reply>

/**
 * Stands in front of the handler of an operation that takes an Idempotency-Key. Without the header nothing changes. Where a
 * run carries its key itself, the handler passes it on.
 */
export function idempotent<I extends Input>(operation: Operation, handler: AnyHandler<I>): AnyHandler<I> {
  const { idempotent: kind, operationId } = operation
  if (kind === undefined) return handler
  // A key names one request of one operation, so that is how the run has it.
  if (kind === 'run') return (ctx, input) => handler(ctx, withHeaders(input, scoped(input.headers, operationId)))
  return (ctx, input) => {
    const { params, query, body, headers, request } = input
    // Safe: the schema of these headers has the key, and an operation with a key is not public.
    const key = (headers as KeyHeader)['idempotency-key']
    if (key === undefined) return handler(ctx, input)
    const content = { params, query, body, ifMatch: request.headers.get('if-match') }
    return answerOnce(
      ctx as ServiceContext,
      { operation: operationId, key, content, sealed: kind === 'sealed' },
      (inner) => handler(inner, input),
    )
  }
}

function scoped(headers: unknown, operationId: string): unknown {
  const key = (headers as KeyHeader)['idempotency-key']
  return key === undefined ? headers : { ...(headers as KeyHeader), 'idempotency-key': `${operationId}:${key}` }
}

/** The input with other headers; the rest, its getters included, is what it was. */
const withHeaders = <I extends Input>(input: I, headers: unknown): I =>
  headers === input.headers ? input : (Object.create(input, { headers: { value: headers } }) as I)
