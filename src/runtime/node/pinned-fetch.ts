import { lookup } from 'node:dns/promises'
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { isIP } from 'node:net'
import { pipeline, Readable, type Transform } from 'node:stream'
import * as zlib from 'node:zlib'

const maxHeaderBytes = 32 * 1024
const connectTimeoutMs = 10_000
const agentOptions = { keepAlive: true, maxSockets: 64, maxFreeSockets: 32, timeout: 60_000 }
const agents = { http: new HttpAgent(agentOptions), https: new HttpsAgent(agentOptions) }

// Only what could not connect may be tried at the next address: nothing of the request has been sent.
const notConnected = new Set([
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EADDRNOTAVAIL',
  'ETIMEDOUT',
  'ECONNTIMEOUT',
])
const nullBodyStatuses = new Set([101, 103, 204, 205, 304])

/** Every address of a name, as the system resolves it (hosts file included). */
export async function resolveAddresses(host: string): Promise<string[]> {
  return (await lookup(host, { all: true, order: 'verbatim' })).map(({ address }) => address)
}

/**
 * One request to one of the given addresses and to no other: the name is never resolved again, and serves only for
 * the Host header and for TLS (server name and certificate). Follows no redirect; the body streams, decompressed.
 */
export async function pinnedFetch(request: Request, addresses: string[] | null): Promise<Response> {
  const url = new URL(request.url)
  const body = request.body === null ? null : new Uint8Array(await request.arrayBuffer())
  const candidates = addresses ?? [bareHost(url)]
  for (const [index, address] of candidates.entries()) {
    try {
      return toResponse(await send(request, url, address, body), request.method)
    } catch (error) {
      const last = index === candidates.length - 1
      if (last || request.signal.aborted || !notConnected.has((error as { code?: string }).code ?? '')) throw error
    }
  }
  throw new Error('No address to connect to.')
}

function send(request: Request, url: URL, address: string, body: Uint8Array | null): Promise<IncomingMessage> {
  const secure = url.protocol === 'https:'
  const host = bareHost(url)
  const headers: Record<string, string | number> = Object.fromEntries(request.headers)
  headers['host'] = url.host
  headers['accept-encoding'] ??= acceptEncoding
  if (body) headers['content-length'] = body.byteLength
  // A kept connection may be closed by the server just as it is used again. A GET is then sent anew; anything else
  // gets a connection of its own, because nobody could tell whether it had arrived.
  const safe = request.method === 'GET' || request.method === 'HEAD'

  return new Promise((resolve, reject) => {
    const outgoing = (secure ? httpsRequest : httpRequest)({
      host: address,
      port: url.port || (secure ? 443 : 80),
      path: url.pathname + url.search,
      method: request.method,
      headers,
      setHost: false,
      agent: safe ? agents[secure ? 'https' : 'http'] : false,
      maxHeaderSize: maxHeaderBytes,
      signal: request.signal,
      // An address literal has no server name (RFC 6066); its certificate is checked against the address.
      ...(secure ? { servername: isIP(host) ? '' : host } : {}),
    })
    const connecting = setTimeout(() => {
      outgoing.destroy(Object.assign(new Error('The connection took too long.'), { code: 'ECONNTIMEOUT' }))
    }, connectTimeoutMs)
    const connected = () => clearTimeout(connecting)
    outgoing.on('socket', (socket) => {
      if (!socket.connecting) connected()
      else socket.once(secure ? 'secureConnect' : 'connect', connected)
    })
    outgoing.on('response', (incoming) => {
      connected()
      resolve(incoming)
    })
    outgoing.on('error', (error: Error & { code?: string }) => {
      connected()
      if (safe && outgoing.reusedSocket && error.code === 'ECONNRESET' && !request.signal.aborted) {
        send(request, url, address, body).then(resolve, reject)
      } else {
        reject(error)
      }
    })
    outgoing.end(body ?? undefined)
  })
}

function toResponse(incoming: IncomingMessage, method: string): Response {
  const status = incoming.statusCode ?? 0
  const headers = new Headers()
  for (let i = 0; i < incoming.rawHeaders.length; i += 2) {
    headers.append(incoming.rawHeaders[i]!, incoming.rawHeaders[i + 1]!)
  }
  if (method === 'HEAD' || nullBodyStatuses.has(status)) {
    incoming.resume()
    return new Response(null, { status, headers })
  }
  const decoders = decodersFor(headers.get('content-encoding'))
  if (decoders.length > 0) {
    headers.delete('content-encoding')
    headers.delete('content-length')
  }
  return new Response(toWebStream([incoming, ...decoders]), { status, headers })
}

/** Pulled chunk by chunk, so a reader that stops also stops the connection. A cut-off answer ends in an error. */
function toWebStream(streams: [IncomingMessage, ...Transform[]]): ReadableStream<Uint8Array> {
  const [incoming] = streams
  // With one stream there is nothing to join, and pipeline() takes at least two.
  const source: Readable = streams.length === 1 ? incoming : (pipeline(streams, () => {}) as unknown as Readable)
  const chunks = source.iterator({ destroyOnReturn: true })
  return new ReadableStream<Uint8Array>(
    {
      async pull(out) {
        const { done, value } = (await chunks.next()) as IteratorResult<Uint8Array>
        if (done) {
          if (!incoming.complete) throw new Error('The answer was cut off.')
          out.close()
          return
        }
        out.enqueue(new Uint8Array(value))
      },
      cancel() {
        source.destroy()
        incoming.destroy()
      },
    },
    { highWaterMark: 0 },
  )
}

type Decoder = () => Transform
const decoders: Record<string, Decoder | undefined> = {
  gzip: () => zlib.createGunzip(),
  'x-gzip': () => zlib.createGunzip(),
  deflate: () => zlib.createInflate(),
  br: () => zlib.createBrotliDecompress(),
  // Missing in older runtimes; then it is not asked for either.
  ...('createZstdDecompress' in zlib ? { zstd: () => zlib.createZstdDecompress() } : {}),
}
const acceptEncoding = ['gzip', 'deflate', 'br', 'zstd'].filter((name) => decoders[name]).join(', ')

/** Decoders in the order to undo them; none where an encoding is unknown, so that the bytes are passed as they came. */
function decodersFor(contentEncoding: string | null): Transform[] {
  const names = (contentEncoding ?? '')
    .toLowerCase()
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '' && name !== 'identity')
  // Each layer multiplies: nobody needs a third.
  if (names.length > 2) throw new Error('The answer is encoded more than twice.')
  const makers = names.reverse().map((name) => decoders[name])
  return makers.every((maker) => maker !== undefined) ? makers.map((maker) => maker()) : []
}

function bareHost(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '')
}
