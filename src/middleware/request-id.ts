import type { Layer } from './exchange.ts'
import { asMiddleware } from './as-middleware.ts'

const acceptable = /^[A-Za-z0-9._-]{1,128}$/

const hex = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))
// Random bytes are fetched for many ids at once: the call costs more than all else that an id needs.
const pool = new Uint8Array(6 * 2048)
let used = pool.length

/** Twelve hex characters: short enough to read out, random enough for a log. */
export function newRequestId(): string {
  if (used === pool.length) {
    crypto.getRandomValues(pool)
    used = 0
  }
  const at = used
  used += 6
  return (
    hex[pool[at]!]! +
    hex[pool[at + 1]!]! +
    hex[pool[at + 2]!]! +
    hex[pool[at + 3]!]! +
    hex[pool[at + 4]!]! +
    hex[pool[at + 5]!]!
  )
}

/** Layer 1: every answer and every log line carries an id, the caller's own where it is presentable. */
export function requestIdLayer(): Layer {
  return {
    name: 'request id',
    on: () => ({
      before(exchange) {
        const given = exchange.header('x-request-id')
        exchange.requestId = given !== null && acceptable.test(given) ? given : newRequestId()
      },
      headers(exchange, headers) {
        headers['x-request-id'] = exchange.requestId
      },
    }),
  }
}

export const requestId = () => asMiddleware(requestIdLayer())
