import { EgressError } from '../../lib/egress-error.ts'

/** A request as data: it can be checked, changed and sent again, which a Request with a stream cannot. */
export interface Outgoing {
  url: URL
  method: string
  headers: Headers
  body: Uint8Array<ArrayBuffer> | null
  /** False once a redirect has left the first origin: from then on no credential is added. */
  credentialed: boolean
}

// What belongs to one connection, or would let a caller speak for another host than the one that was checked.
const notForwarded = [
  'host',
  'connection',
  'keep-alive',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'expect',
  'content-length',
]
const redirects = new Set([301, 302, 303, 307, 308])

export async function takeOutgoing(request: Request): Promise<Outgoing> {
  const headers = new Headers(request.headers)
  for (const name of notForwarded) headers.delete(name)
  if (!headers.has('accept')) headers.set('accept', '*/*')
  if (!headers.has('user-agent')) headers.set('user-agent', 'automatos-orchestrator')
  const body = request.body === null ? null : new Uint8Array(await request.arrayBuffer())
  const url = new URL(request.url)
  url.hash = ''
  return { url, method: request.method, headers, body, credentialed: true }
}

/** The request that a redirect asks for (Fetch standard, HTTP-redirect fetch); null when the answer is none. */
export function nextHop(outgoing: Outgoing, response: Response): Outgoing | null {
  const location = redirects.has(response.status) ? response.headers.get('location') : null
  if (location === null) return null
  const url = parseLocation(location, outgoing.url)
  url.hash = ''

  const headers = new Headers(outgoing.headers)
  let { method, body } = outgoing
  const becomesGet =
    (response.status === 303 && method !== 'GET' && method !== 'HEAD') ||
    ((response.status === 301 || response.status === 302) && method === 'POST')
  if (becomesGet) {
    method = 'GET'
    body = null
    for (const name of ['content-encoding', 'content-language', 'content-location', 'content-type'])
      headers.delete(name)
  }
  const sameOrigin = url.origin === outgoing.url.origin
  if (!sameOrigin) for (const name of ['authorization', 'cookie', 'x-api-key']) headers.delete(name)
  return { url, method, headers, body, credentialed: outgoing.credentialed && sameOrigin }
}

function parseLocation(location: string, base: URL): URL {
  try {
    return new URL(location, base)
  } catch {
    throw new EgressError('egress-failed', `${base.host} redirected to something that is not a URL.`)
  }
}
