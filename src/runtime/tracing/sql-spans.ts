import { context, SpanKind, trace, type Tracer } from '@opentelemetry/api'
import type { LogEvent } from 'kysely'
import { failSpan } from '../../lib/tracing.ts'

export type OnQuery = (event: LogEvent) => void

/**
 * A span a statement, with its text and never its parameters. Statements know no context, so theirs is the active one:
 * where none is, as in a service's idle poll, there is no span either. A statement that serves several runs at once
 * stands under the run that asked for it.
 */
export const sqlSpans =
  (tracer: Tracer): OnQuery =>
  (event) => {
    const parent = context.active()
    if (!trace.getSpan(parent)) return
    const text = event.query.sql.trim()
    const verb = /^\w+/.exec(text)?.[0].toUpperCase() ?? 'SQL'
    const endMs = Date.now()
    const attributes = { 'db.system.name': 'postgresql', 'db.query.text': text, 'db.operation.name': verb }
    const startTime = endMs - event.queryDurationMillis
    const span = tracer.startSpan(verb, { kind: SpanKind.CLIENT, startTime, attributes }, parent)
    if (event.level === 'error') failSpan(span, String((event.error as { code?: unknown } | null)?.code ?? 'unknown'))
    span.end(endMs)
  }
