import { SpanKind } from '@opentelemetry/api'
import type { EgressOptions, ServiceContext } from '../../context.ts'
import { canonicalJson } from '../../lib/canonical.ts'
import { EgressError } from '../../lib/egress-error.ts'
import type { Json } from '../../lib/json.ts'
import { failSpan, formatTraceparent, inSpan, spanContextOf } from '../../lib/tracing.ts'

export interface OutboundRequest {
  method: string
  url: string
  headers: Record<string, string>
  /** JSON unless it is a text; an object under a form's media type is sent as a form. */
  body?: Json
  /** Bytes in place of a body, with what they are; a media type that the headers name wins, but for a form's boundary. */
  payload?: { bytes: Uint8Array; mediaType: string }
  idempotencyKey: string
}

export interface InboundAnswer {
  status: number
  headers: Headers
  mediaType: string | null
  bytes: Uint8Array
}

/** The request cannot be made as it is written. */
export class InvalidRequestError extends Error {}

/** One request through the egress guard, its answer read to the end. Throws InvalidRequestError, EgressError or the abort's reason. */
export async function exchange(
  ctx: Pick<ServiceContext, 'egress' | 'log' | 'tracing' | 'trace'>,
  outbound: OutboundRequest,
  options: EgressOptions,
): Promise<InboundAnswer> {
  const request = toRequest(outbound)
  const { hostname, port, protocol } = new URL(request.url)
  // No more of the URL: paths and queries of webhooks and APIs are where their secrets stand.
  const attributes = {
    'http.request.method': request.method,
    'server.address': hostname,
    'server.port': Number(port) || (protocol === 'https:' ? 443 : 80),
  }
  return inSpan(ctx, request.method, { kind: SpanKind.CLIENT, attributes }, async (inner, span) => {
    const answer = await send(inner, request, options)
    span?.setAttribute('http.response.status_code', answer.status)
    if (span && answer.status >= 400) failSpan(span, String(answer.status))
    return answer
  })
}

async function send(
  { egress, trace }: Pick<ServiceContext, 'egress' | 'trace'>,
  request: Request,
  options: EgressOptions,
): Promise<InboundAnswer> {
  const place = spanContextOf(trace)
  // Ids of ours and nothing else: what callers of ours put into their trace state is not passed on.
  if (place && !request.headers.has('traceparent')) request.headers.set('traceparent', formatTraceparent(place))
  const response = await egress(request, options)
  try {
    const bytes = new Uint8Array(await response.arrayBuffer())
    return {
      status: response.status,
      headers: response.headers,
      mediaType: response.headers.get('content-type'),
      bytes,
    }
  } catch (error) {
    if (options.signal?.aborted) throw options.signal.reason
    if (error instanceof EgressError) throw error
    throw new EgressError('egress-failed', 'The answer broke off before its end.', { cause: error })
  }
}

function toRequest({ method, url, headers: given, body, payload: bytes, idempotencyKey }: OutboundRequest): Request {
  if (!URL.canParse(url)) throw new InvalidRequestError('The URL is not absolute.')
  const bodiless = method === 'GET' || method === 'HEAD'
  if (bodiless && (body !== undefined || bytes !== undefined)) throw new InvalidRequestError(`${method} takes no body.`)
  let headers: Headers
  try {
    headers = new Headers(given)
  } catch {
    throw new InvalidRequestError('A header has a name or a value that HTTP does not allow.')
  }
  if (!headers.has('idempotency-key')) headers.set('idempotency-key', idempotencyKey)
  const payload = bytes !== undefined ? asItIs(bytes, headers) : body === undefined ? null : toPayload(body, headers)
  try {
    return new Request(url, { method, headers, body: payload })
  } catch {
    // Such as a user name within the URL. The reason is not passed on: it may quote the URL and what is in it.
    throw new InvalidRequestError('The request cannot be sent: its method, URL or headers are not allowed.')
  }
}

function asItIs({ bytes, mediaType }: NonNullable<OutboundRequest['payload']>, headers: Headers): BodyInit {
  if (!headers.has('content-type') || mediaType.startsWith('multipart/')) headers.set('content-type', mediaType)
  return bytes as Uint8Array<ArrayBuffer>
}

function toPayload(body: Json, headers: Headers): string {
  const mediaType = headers.get('content-type')
  if (typeof body === 'string') {
    if (mediaType === null) headers.set('content-type', 'text/plain; charset=utf-8')
    return body
  }
  if (mediaType?.startsWith('application/x-www-form-urlencoded') && typeof body === 'object' && body !== null) {
    const fields = new URLSearchParams()
    for (const [name, value] of Object.entries(body).toSorted(([a], [b]) => (a < b ? -1 : 1))) {
      for (const each of Array.isArray(value) ? value : [value]) fields.append(name, textValue(each))
    }
    return fields.toString()
  }
  if (mediaType === null) headers.set('content-type', 'application/json')
  // A repeat of this request may render its body from recorded values, whose keys come in another order.
  return canonicalJson(body)
}

/** A value where HTTP has only text: headers, query, form fields. */
export const textValue = (value: Json): string => (typeof value === 'string' ? value : canonicalJson(value))

export const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)
