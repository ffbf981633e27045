import { JsonTraceSerializer } from '@opentelemetry/otlp-transformer'
import type { SendSpans } from './span-queue.ts'

const timeoutMs = 10_000
/** OTLP/HTTP names these as worth another try; everything else is a refusal of the request itself. */
const passing = new Set([408, 429, 502, 503, 504])

/** OTLP over HTTP as JSON: what every collector reads on its HTTP port, and what needs nothing but `fetch`. */
export function otlpSender(url: string, headers: Readonly<Record<string, string>>): SendSpans {
  return async (spans) => {
    const body = JsonTraceSerializer.serializeRequest([...spans])
    const response = await fetch(url, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json' },
      // Safe: TypeScript cannot see that the serializer's bytes lie in no shared buffer.
      body: body as BodyInit,
      signal: AbortSignal.timeout(timeoutMs),
    })
    const text = await response.text()
    if (response.ok) return { kind: 'taken', rejected: rejectedIn(text) }
    return {
      kind: passing.has(response.status) ? 'again' : 'refused',
      detail: `The receiver answered ${response.status}.`,
    }
  }
}

/** A receiver may take a batch in part; the number comes as text, as 64-bit numbers do in OTLP's JSON. */
function rejectedIn(text: string): number {
  try {
    const answer = JSON.parse(text) as { partialSuccess?: { rejectedSpans?: string | number } }
    return Number(answer.partialSuccess?.rejectedSpans ?? 0) || 0
  } catch {
    return 0
  }
}
