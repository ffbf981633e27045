import { AppError } from '../lib/errors.ts'
import { readAtMost } from '../lib/read-at-most.ts'
import { asMiddleware } from './as-middleware.ts'
import type { Exchange, Layer } from './exchange.ts'

export const defaultMaxBodyBytes = 10 * 1024 * 1024

export const bodyTooLarge = (maxBytes: number) =>
  new AppError('too-large', `The request body is larger than ${maxBytes} bytes.`)

/**
 * Layer 7 refuses a declared length that is too long before a byte is read. What declares nothing, or lies, is counted
 * while it is read: `readBody` and `countedRequest` hold the same limit.
 */
export function bodyLimitLayer(): Layer {
  return {
    name: 'body limit',
    on: (route) => ({
      before(exchange) {
        if (exchange.method === 'GET' || exchange.method === 'HEAD') return
        const declared = exchange.header('content-length')
        if (declared === null) return
        if (!/^\d+$/.test(declared)) throw new AppError('malformed', 'Content-Length is not a number.')
        if (Number(declared) > route.maxBodyBytes) throw bodyTooLarge(route.maxBodyBytes)
      },
    }),
  }
}

export const bodyLimit = () => asMiddleware(bodyLimitLayer())

/** Handed over beside the request where a platform has a shorter way to its body than the Request: Node. */
interface PlatformEnv {
  /** Null where that way is closed: somebody has read it, or the client has gone. */
  readBody?(): Promise<Uint8Array> | null
}

/** Reads the whole body, never more than `maxBytes` of it. */
export function readBody(exchange: Exchange, maxBytes: number): Promise<Uint8Array> {
  const { request, env } = exchange
  // With a declared length, which the layer has checked, HTTP itself bounds the body.
  const direct = exchange.header('content-length') === null ? null : (env as PlatformEnv | undefined)?.readBody?.()
  return direct ?? readAtMost(request, maxBytes, () => bodyTooLarge(maxBytes))
}

/** The request for a handler that reads the body by itself: reading beyond the limit throws. */
export function countedRequest(request: Request, maxBytes: number): Request {
  if (request.method === 'GET' || request.method === 'HEAD' || request.headers.get('content-length') !== null)
    return request
  if (request.body === null) return request
  let total = 0
  const counter = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      total += chunk.byteLength
      if (total > maxBytes) throw bodyTooLarge(maxBytes)
      controller.enqueue(chunk)
    },
  })
  const init: RequestInit & { duplex: 'half' } = { body: request.body.pipeThrough(counter), duplex: 'half' }
  return new Request(request, init)
}
