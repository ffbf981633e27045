import { AppError } from '../lib/errors.ts'
import { asMiddleware } from './as-middleware.ts'
import type { Layer } from './exchange.ts'

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
        const declared = exchange.request.headers.get('content-length')
        if (declared === null) return
        if (!/^\d+$/.test(declared)) throw new AppError('malformed', 'Content-Length is not a number.')
        if (Number(declared) > route.maxBodyBytes) throw bodyTooLarge(route.maxBodyBytes)
      },
    }),
  }
}

export const bodyLimit = () => asMiddleware(bodyLimitLayer())

/** Reads the whole body, never more than `maxBytes` of it. */
export async function readBody(request: Request, maxBytes: number): Promise<Uint8Array> {
  // With a declared length HTTP itself bounds the body, and reading at once keeps the platform's fast path.
  if (request.headers.get('content-length') !== null) {
    const bytes = new Uint8Array(await request.arrayBuffer())
    if (bytes.byteLength > maxBytes) throw bodyTooLarge(maxBytes)
    return bytes
  }
  if (request.body === null) return new Uint8Array(0)
  const chunks: Uint8Array[] = []
  let total = 0
  const reader = request.body.getReader()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) break
    total += value.byteLength
    if (total > maxBytes) {
      await reader.cancel().catch(() => {})
      throw bodyTooLarge(maxBytes)
    }
    chunks.push(value)
  }
  if (chunks.length === 1) return chunks[0]!
  const bytes = new Uint8Array(total)
  let offset = 0
  for (const chunk of chunks) {
    bytes.set(chunk, offset)
    offset += chunk.byteLength
  }
  return bytes
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
