import {
  context,
  createTraceState,
  isSpanContextValid,
  ROOT_CONTEXT,
  SpanStatusCode,
  trace,
  TraceFlags,
  type Context,
  type Span,
  type SpanContext,
  type SpanOptions,
} from '@opentelemetry/api'
import type { Log, Tracing } from '../context.ts'

/** What a span needs of a context: where spans go and what the work is part of. */
export interface Traced {
  tracing?: Tracing
  trace?: Context
  log: Log
}

const traceparent = /^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$/

/** Reads W3C trace context; null where there is none that can be read. */
export function parseTraceparent(parent: string | null, state: string | null = null): SpanContext | null {
  const match = parent === null ? null : traceparent.exec(parent.trim())
  if (!match) return null
  const found: SpanContext = {
    traceId: match[1]!,
    spanId: match[2]!,
    traceFlags: Number.parseInt(match[3]!, 16) & TraceFlags.SAMPLED,
    isRemote: true,
    ...(state && { traceState: createTraceState(state) }),
  }
  return isSpanContextValid(found) ? found : null
}

export const formatTraceparent = ({ traceId, spanId, traceFlags }: SpanContext): string =>
  `00-${traceId}-${spanId}-${(traceFlags & TraceFlags.SAMPLED).toString(16).padStart(2, '0')}`

/** The place below a span that lives elsewhere. */
export const below = (parent: SpanContext | null): Context =>
  parent === null ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, parent)

export const spanContextOf = (place: Context | undefined): SpanContext | null =>
  (place && trace.getSpanContext(place)) ?? null

/** The same context, for work within the span: its log names trace and span. */
export function within<C extends Traced>(ctx: C, span: Span): C {
  const place = trace.setSpan(ctx.trace ?? ROOT_CONTEXT, span)
  const { traceId, spanId } = span.spanContext()
  return { ...ctx, trace: place, log: ctx.log.with({ trace_id: traceId, span_id: spanId }) }
}

/**
 * Does the work in a span of its own; without tracing it does the work and nothing else. The work gets the context to
 * hand on, and the span to tell of what it learns. A span says what kind of failure it was, never its message, which may
 * carry what does not belong in a trace.
 */
export function inSpan<C extends Traced, T>(
  ctx: C,
  name: string,
  options: SpanOptions,
  work: (ctx: C, span: Span | null) => Promise<T>,
): Promise<T> {
  return ctx.tracing ? recorded(ctx, ctx.tracing, name, options, work) : work(ctx, null)
}

async function recorded<C extends Traced, T>(
  ctx: C,
  { tracer }: Tracing,
  name: string,
  options: SpanOptions,
  work: (ctx: C, span: Span | null) => Promise<T>,
): Promise<T> {
  const span = tracer.startSpan(name, options, ctx.trace ?? ROOT_CONTEXT)
  const inner = within(ctx, span)
  try {
    return await context.with(inner.trace!, () => work(inner, span))
  } catch (error) {
    failSpan(span, kindOf(error))
    throw error
  } finally {
    span.end()
  }
}

export function failSpan(span: Span, kind: string): void {
  span.setAttribute('error.type', kind)
  span.setStatus({ code: SpanStatusCode.ERROR, message: kind })
}

/** Our errors name their kind; of others the class is all that is safe to tell. */
export function kindOf(error: unknown): string {
  const kind = (error as { kind?: unknown } | null)?.kind
  if (typeof kind === 'string') return kind
  return error instanceof Error ? error.name : 'unknown'
}
