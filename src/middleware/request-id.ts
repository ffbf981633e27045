import type { Layer } from './exchange.ts'
import { asMiddleware } from './as-middleware.ts'

const acceptable = /^[A-Za-z0-9._-]{1,128}$/

/** Twelve hex characters: short enough to read out, random enough for a log. */
export function newRequestId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(6))
  let id = ''
  for (const byte of bytes) id += (byte < 16 ? '0' : '') + byte.toString(16)
  return id
}

/** Layer 1: every answer and every log line carries an id, the caller's own where it is presentable. */
export function requestIdLayer(): Layer {
  return {
    name: 'request id',
    on: () => ({
      before(exchange) {
        const given = exchange.request.headers.get('x-request-id')
        exchange.requestId = given !== null && acceptable.test(given) ? given : newRequestId()
      },
      headers(exchange, headers) {
        headers['x-request-id'] = exchange.requestId
      },
    }),
  }
}

export const requestId = () => asMiddleware(requestIdLayer())
