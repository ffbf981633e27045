import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

type Value = {
  stringValue?: string
  intValue?: string | number
  doubleValue?: number
  boolValue?: boolean
  arrayValue?: { values?: Value[] }
}
interface WireSpan {
  traceId: string
  spanId: string
  parentSpanId?: string
  name: string
  kind: number
  startTimeUnixNano: string
  endTimeUnixNano: string
  attributes?: { key: string; value: Value }[]
  status?: { code?: number; message?: string }
}

/** A span as it arrived. */
export interface ReceivedSpan {
  traceId: string
  spanId: string
  parentSpanId: string | null
  name: string
  kind: 'internal' | 'server' | 'client' | 'producer' | 'consumer'
  startMs: number
  endMs: number
  attributes: Record<string, unknown>
  isError: boolean
  resource: Record<string, unknown>
}

export interface OtlpReceiver {
  url: string
  spans: ReceivedSpan[]
  requests: { path: string; headers: Record<string, string | string[] | undefined> }[]
  /** Answers the next requests with this status, until told otherwise. */
  answerWith(status: number, body?: object): void
  /** Resolves once some span meets the condition. */
  arrived(condition: (span: ReceivedSpan) => boolean): Promise<ReceivedSpan>
  named(name: string): ReceivedSpan[]
  close(): Promise<void>
}

/** A local receiver of OTLP over HTTP with JSON, which reads what it gets as a collector would. */
export async function startOtlpReceiver(): Promise<OtlpReceiver> {
  const spans: ReceivedSpan[] = []
  const requests: OtlpReceiver['requests'] = []
  const waiting = new Set<() => void>()
  let answer = { status: 200, body: {} as object }
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      requests.push({ path: request.url ?? '', headers: request.headers })
      if (answer.status === 200) spans.push(...decode(Buffer.concat(chunks).toString()))
      response.writeHead(answer.status, { 'content-type': 'application/json' }).end(JSON.stringify(answer.body))
      for (const look of waiting) look()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    requests,
    answerWith(status, body = {}) {
      answer = { status, body }
    },
    arrived: (condition) =>
      new Promise((resolve) => {
        const look = () => {
          const found = spans.find(condition)
          if (!found) return
          waiting.delete(look)
          resolve(found)
        }
        waiting.add(look)
        look()
      }),
    named: (name) => spans.filter((span) => span.name === name),
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

const kinds = ['internal', 'internal', 'server', 'client', 'producer', 'consumer'] as const

function decode(text: string): ReceivedSpan[] {
  const { resourceSpans } = JSON.parse(text) as {
    resourceSpans: { resource: { attributes: WireSpan['attributes'] }; scopeSpans: { spans: WireSpan[] }[] }[]
  }
  return resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans.flatMap(({ spans }) =>
      spans.map((span) => ({
        traceId: span.traceId,
        spanId: span.spanId,
        parentSpanId: span.parentSpanId || null,
        name: span.name,
        kind: kinds[span.kind] ?? 'internal',
        startMs: Number(BigInt(span.startTimeUnixNano) / 1_000_000n),
        endMs: Number(BigInt(span.endTimeUnixNano) / 1_000_000n),
        attributes: toObject(span.attributes),
        isError: span.status?.code === 2,
        resource: toObject(resource.attributes),
      })),
    ),
  )
}

const toObject = (attributes: WireSpan['attributes'] = []) =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, toPlain(value)]))

function toPlain(value: Value): unknown {
  if (value.intValue !== undefined) return Number(value.intValue)
  if (value.arrayValue) return (value.arrayValue.values ?? []).map(toPlain)
  return value.stringValue ?? value.doubleValue ?? value.boolValue ?? null
}
