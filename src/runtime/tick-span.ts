import { context, ROOT_CONTEXT, trace } from '@opentelemetry/api'
import type { BackgroundService, Runtime, TickReport } from '../context.ts'
import { tracesSql } from '../config/tracing.ts'
import { failSpan, kindOf } from '../lib/tracing.ts'

/** A pass of a background service; its span is written only where the pass did something or failed. */
export function tick(service: BackgroundService, runtime: Runtime): Promise<TickReport> {
  return runtime.tracing ? tracedTick(service, runtime) : service.tick(runtime)
}

async function tracedTick(service: BackgroundService, runtime: Runtime): Promise<TickReport> {
  const attributes = { 'automatos.service': service.name, 'automatos.instance': runtime.instance }
  const span = runtime.tracing!.tracer.startSpan(`tick ${service.name}`, { root: true, attributes })
  try {
    const report = await context.with(trace.setSpan(ROOT_CONTEXT, span), () => service.tick(runtime))
    span.setAttribute('automatos.service.done', report.done)
    // Where its statements are spans, they need the span that they stand under.
    if (report.done > 0 || tracesSql(runtime.config)) span.end()
    return report
  } catch (error) {
    failSpan(span, kindOf(error))
    span.end()
    throw error
  }
}
