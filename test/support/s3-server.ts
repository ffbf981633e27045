import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { s3Access } from './s3-access.ts'

/** The one bucket that is not there: every other is made by its first use. */
export const missingBucket = 'not-there'

/** What happens to a request instead of its answer: it comes late in no case, so nothing waits for time. */
export type S3Fault =
  | { kind: 'answer'; status: number; code: string; retryAfter?: string }
  /** Carried out, but the connection breaks before the answer. */
  | { kind: 'lost' }
  /** Half of the answer, then the connection breaks. */
  | { kind: 'torn' }
  | { kind: 'silent' }

export interface S3Server {
  endpoint: string
  /** Each met by one of the next requests, in order. */
  faults: S3Fault[]
  /** How far its clock is ahead of this machine's. */
  aheadMs: number
  seen: { method: string; key: string; status: number | null }[]
  stored(bucket: string, key: string): { bytes: Buffer; mediaType: string | undefined } | undefined
  stop(): Promise<void>
  start(): Promise<void>
}

const skewMs = 15 * 60_000

/**
 * A small S3 (put, get, delete of objects, bucket in the path) that computes every signature again: a wrong secret, a clock
 * that is off, another region, a header or a byte that was changed on the way are refused as S3 refuses them.
 */
export async function startS3Server(): Promise<S3Server> {
  const objects = new Map<string, { bytes: Buffer; mediaType: string | undefined }>()
  const faults: S3Fault[] = []
  const seen: S3Server['seen'] = []
  let server: Server
  let port = 0
  const clock = { aheadMs: 0 }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = Buffer.concat(chunks)
    const { method = '' } = request
    const path = (request.url ?? '').split('?')[0]!
    const [bucket = '', ...rest] = path.slice(1).split('/').map(decodeURIComponent)
    const key = rest.join('/')
    const note: S3Server['seen'][number] = { method, key, status: null }
    seen.push(note)
    const answer = (status: number, bytes: Buffer | string = '', headers: Record<string, string> = {}) => {
      note.status = status
      response.writeHead(status, { 'content-length': String(Buffer.byteLength(bytes)), ...headers })
      response.end(bytes)
    }
    const refuse = (status: number, code: string, headers: Record<string, string> = {}) =>
      answer(status, `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${code}</Message></Error>`, {
        'content-type': 'application/xml',
        ...headers,
      })

    const fault = faults.shift()
    if (fault?.kind === 'silent') return
    if (fault?.kind === 'answer')
      return refuse(fault.status, fault.code, fault.retryAfter ? { 'retry-after': fault.retryAfter } : {})
    const refusal = verify(request, path, body, Date.now() + clock.aheadMs)
    if (refusal) return refuse(...refusal)
    if (bucket === missingBucket) return refuse(404, 'NoSuchBucket')

    const name = `${bucket}/${key}`
    if (method === 'PUT') objects.set(name, { bytes: body, mediaType: request.headers['content-type'] })
    if (method === 'DELETE') objects.delete(name)
    if (fault?.kind === 'lost') return void request.socket.destroy()
    if (method === 'PUT' || (method === 'HEAD' && key === '')) return answer(200)
    if (method === 'DELETE') return answer(204)
    const object = objects.get(name)
    if (!object) return refuse(404, 'NoSuchKey')
    if (fault?.kind === 'torn') {
      response.writeHead(200, { 'content-length': String(object.bytes.length) })
      response.write(object.bytes.subarray(0, object.bytes.length / 2), () => request.socket.destroy())
      return
    }
    answer(200, object.bytes, { 'content-type': object.mediaType ?? 'binary/octet-stream' })
  }

  const start = async () => {
    server = createServer((request, response) => void handle(request, response))
    await once(server.listen(port, '127.0.0.1'), 'listening')
    port = (server.address() as AddressInfo).port
  }
  await start()
  const own: Omit<S3Server, 'aheadMs'> = {
    endpoint: `http://127.0.0.1:${port}`,
    faults,
    seen,
    stored: (bucket, key) => objects.get(`${bucket}/${key}`),
    start,
    async stop() {
      if (!server.listening) return
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
  return Object.assign(clock, own)
}

/** Signature Version 4, from its specification. Null = it holds. */
function verify(
  request: IncomingMessage,
  path: string,
  body: Buffer,
  nowMs: number,
): [status: number, code: string] | null {
  const { headers, method = '' } = request
  const given =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/s3\/aws4_request, SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$/.exec(
      headers.authorization ?? '',
    )
  if (!given) return [403, 'AccessDenied']
  const [, accessKeyId, day, region, names, signature] = given
  if (accessKeyId !== s3Access.accessKeyId) return [403, 'InvalidAccessKeyId']
  if (region !== s3Access.region) return [400, 'AuthorizationHeaderMalformed']
  const date = String(headers['x-amz-date'])
  const at = Date.parse(date.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'))
  if (!(Math.abs(nowMs - at) <= skewMs) || !date.startsWith(day!)) return [403, 'RequestTimeTooSkewed']

  const signed = names!.split(';')
  // What decides about the request has to be under the signature.
  const needed = ['host', 'x-amz-date', 'x-amz-content-sha256', ...(headers['content-type'] ? ['content-type'] : [])]
  if (needed.some((name) => !signed.includes(name))) return [403, 'AccessDenied']
  const encode = (text: string) =>
    encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
  const query = [...new URL(request.url!, 'http://s3').searchParams].map((pair) => pair.map(encode).join('='))
  const canonical = [
    method,
    path
      .split('/')
      .map((part) => encode(decodeURIComponent(part)))
      .join('/'),
    query.sort().join('&'),
    ...signed.map((name) => `${name}:${String(headers[name]).trim().replace(/\s+/g, ' ')}`),
    '',
    names,
    headers['x-amz-content-sha256'],
  ].join('\n')
  const hmac = (key: string | Buffer, text: string) => createHmac('sha256', key).update(text).digest()
  const sha256 = (data: string | Buffer) => createHash('sha256').update(data).digest('hex')
  const scope = `${day}/${region}/s3/aws4_request`
  const toSign = ['AWS4-HMAC-SHA256', date, scope, sha256(canonical)].join('\n')
  const key = [day!, region!, 's3', 'aws4_request'].reduce<string | Buffer>(hmac, `AWS4${s3Access.secretAccessKey}`)
  if (!timingSafeEqual(hmac(key, toSign), Buffer.from(signature!, 'hex'))) return [403, 'SignatureDoesNotMatch']
  return sha256(body) === headers['x-amz-content-sha256'] ? null : [400, 'XAmzContentSHA256Mismatch']
}
