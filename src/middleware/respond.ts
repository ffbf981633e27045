import type { Reply } from '../lib/operation.ts'
import type { HeaderBag } from './exchange.ts'

/** Writes a Reply into one Response. `layered` are the headers of the layers; what the Reply itself sets wins. */
export function toResponse(
  reply: Reply,
  method: string,
  layered: HeaderBag,
  ended: (error: unknown) => void,
): Response {
  const { status, body } = reply
  const headers = layered
  if (reply.headers !== undefined) {
    const vary = headers['vary']
    Object.assign(headers, reply.headers)
    if (vary !== undefined && reply.headers['vary'] !== undefined) headers['vary'] = `${reply.headers['vary']}, ${vary}`
  }
  if (body === undefined || status === 204 || status === 304) {
    ended(null)
    return new Response(null, { status, headers })
  }
  headers['content-type'] = reply.contentType ?? 'application/json'
  if (method === 'HEAD') {
    if (body instanceof ReadableStream) body.cancel().catch(() => {})
    ended(null)
    return new Response(null, { status, headers })
  }
  if (body instanceof ReadableStream) return new Response(watched(body, ended), { status, headers })
  const bytes = reply.contentType === undefined || isJson(reply.contentType) ? JSON.stringify(body) : (body as BodyInit)
  ended(null)
  return new Response(bytes, { status, headers })
}

const isJson = (contentType: string) => contentType === 'application/json' || contentType.endsWith('+json')

/** The stream, unbuffered, telling once how it ended: null at its end or when the client left, else its error. */
function watched(stream: ReadableStream<Uint8Array>, ended: (error: unknown) => void): ReadableStream<Uint8Array> {
  const reader = stream.getReader()
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await reader.read()
        if (!done) return controller.enqueue(value)
        ended(null)
        controller.close()
      } catch (error) {
        ended(error ?? new Error('The stream failed without a reason.'))
        controller.error(error)
      }
    },
    async cancel(reason) {
      ended(null)
      await reader.cancel(reason)
    },
  })
}
