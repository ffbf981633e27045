import { context, SpanKind, trace, type Span } from '@opentelemetry/api'
import { below, failSpan, parseTraceparent, within } from '../lib/tracing.ts'
import type { Exchange, Layer } from './exchange.ts'
import type { Answer } from './pipeline.ts'

/** A span ends with both the status and the last byte, whichever comes later. */
interface Open {
  span: Span
  hasStatus: boolean
  isOver: boolean
}

/**
 * A span a request, below the caller's own where it sends W3C trace context. Only part of the pipeline where traces go
 * somewhere. Everything behind it sees a runtime that knows the span, and whose log names it.
 */
export function tracingLayer(): Layer {
  const open = new WeakMap<Exchange, Open>()
  return {
    name: 'tracing',
    on(route) {
      // Probes and scrapes come every few seconds and tell nothing.
      if (route.kind === 'health' || route.kind === 'asset') return {}
      const name = `${route.method} ${route.template}`
      return {
        before(exchange) {
          const { runtime, request, method, requestId } = exchange
          if (!runtime.tracing) return
          const parent = parseTraceparent(exchange.header('traceparent'), exchange.header('tracestate'))
          const attributes = {
            'http.request.method': method,
            'http.route': route.template,
            'url.scheme': request.url.slice(0, request.url.indexOf(':')),
            'automatos.request.id': requestId,
          }
          const span = runtime.tracing.tracer.startSpan(name, { kind: SpanKind.SERVER, attributes }, below(parent))
          open.set(exchange, { span, hasStatus: false, isOver: false })
          exchange.runtime = within({ ...runtime, trace: below(parent) }, span)
        },
        after(exchange, status) {
          const entry = open.get(exchange)
          if (!entry) return
          entry.span.setAttribute('http.response.status_code', status)
          const workspaceId = exchange.caller?.actor.workspaceId
          if (workspaceId !== undefined) entry.span.setAttribute('automatos.workspace.id', workspaceId)
          if (status >= 500) failSpan(entry.span, String(status))
          entry.hasStatus = true
          if (entry.isOver) entry.span.end()
        },
        ended(exchange, error) {
          const entry = open.get(exchange)
          if (!entry) return
          if (error !== null) failSpan(entry.span, 'stream_broken')
          entry.isOver = true
          if (entry.hasStatus) entry.span.end()
        },
      }
    },
  }
}

/** The answer with its span as the active one, for what has no context handed to it: the statements of the database. */
export const withinSpan =
  (answer: Answer): Answer =>
  (exchange, admit) => {
    const place = exchange.runtime.trace
    return place && trace.getSpan(place) ? context.with(place, () => answer(exchange, admit)) : answer(exchange, admit)
  }
