import { isCurrent } from '../lib/etag.ts'
import type { Reply } from '../lib/operation.ts'

/** A reading answer that carries a tag: 304 in its place where the caller's copy is still good. */
export function conditional(reply: Reply, request: Request): Reply {
  const etag = reply.headers?.['etag']
  if (etag === undefined) return reply
  // What a caller may read is for that caller alone, and asked for again each time.
  const headers = { 'cache-control': 'private, no-cache', ...reply.headers }
  if (reply.status !== 200 || !isCurrent(request.headers.get('if-none-match'), etag)) return { ...reply, headers }
  if (reply.body instanceof ReadableStream) reply.body.cancel().catch(() => {})
  return { status: 304, headers: { etag, 'cache-control': headers['cache-control'] } }
}
