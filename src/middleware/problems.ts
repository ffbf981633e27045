import { AppError, problemTypes, type ProblemKind } from '../lib/errors.ts'
import type { Reply } from '../lib/operation.ts'
import { isTransactionConflict } from '../lib/transaction-conflict.ts'
import type { Exchange } from './exchange.ts'

export const problemMediaType = 'application/problem+json'

/** RFC 9457. `detail` is always a string: clients show it as it is. */
export function problemBody(kind: ProblemKind, detail: string, instance: string, requestId: string) {
  const { status, title } = problemTypes[kind]
  return { type: `/problems/${kind}`, title, status, detail, instance, request_id: requestId }
}

/** The only writer of error bodies. What is no AppError is a bug: logged whole, answered bare. */
export function toProblem(thrown: unknown, exchange: Exchange): Reply {
  const { config, log } = exchange.runtime
  const error = isTransactionConflict(thrown) ? busy(thrown) : thrown
  if (error instanceof AppError) {
    if (problemTypes[error.kind].status >= 500) {
      log.warn('A request could not be served.', {
        ...requestFields(exchange),
        kind: error.kind,
        detail: error.detail,
        ...(error.cause === undefined ? {} : { cause: describe(error.cause) }),
      })
    }
    return {
      status: problemTypes[error.kind].status,
      contentType: problemMediaType,
      ...(error.headers && { headers: error.headers }),
      body: {
        ...problemBody(error.kind, error.detail, pathOf(exchange.request), exchange.requestId),
        ...(error.errors && { errors: error.errors }),
      },
    }
  }
  log.error('A request failed unexpectedly.', { ...requestFields(exchange), error: describe(error) })
  return {
    status: 500,
    contentType: problemMediaType,
    body: {
      ...problemBody('internal', 'The server failed to answer.', pathOf(exchange.request), exchange.requestId),
      // An unexpected message may carry SQL, a URL or a key, so only a developer's own machine shows it.
      ...(config.environment === 'development' && { stack: describe(error) }),
    },
  }
}

/** Nothing has been written, and the others are done in a moment. */
const busy = (cause: unknown) =>
  new AppError('unavailable', 'Others were changing the same. Try again shortly.', {
    headers: { 'retry-after': '1' },
    cause,
  })

export const describe = (error: unknown): string =>
  error instanceof Error ? (error.stack ?? `${error.name}: ${error.message}`) : String(error)

export const requestFields = ({ requestId, method, route }: Exchange) => ({
  request_id: requestId,
  method,
  route: route.template,
})

/** The path as it came, without the query: queries may carry what does not belong into a body. */
export function pathOf({ url }: Request): string {
  const start = url.indexOf('/', url.indexOf('://') + 3)
  if (start === -1) return '/'
  const end = url.slice(start).search(/[?#]/)
  return end === -1 ? url.slice(start) : url.slice(start, start + end)
}
