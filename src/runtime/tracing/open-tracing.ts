import { defaultResource, resourceFromAttributes } from '@opentelemetry/resources'
import { RandomIdGenerator, TracerProvider, type IdGenerator } from '@opentelemetry/sdk-trace'
import type { SpanContext } from '@opentelemetry/api'
import type { Config } from '../../config.ts'
import { tracesUrl } from '../../config/tracing.ts'
import type { Collector, Log, Platform, Tracing } from '../../context.ts'
import { below } from '../../lib/tracing.ts'
import { version } from '../../lib/version.ts'
import { otlpSender } from './otlp.ts'
import { createSampler } from './sampler.ts'
import { SpanQueue } from './span-queue.ts'

export interface OpenedTracing extends Tracing {
  collector: Collector
  /** Sends what is left; then nothing more. */
  close(): Promise<void>
}

export interface TracingParts {
  config: Config
  platform: Platform
  instance: string
  log: Log
  /** See SpanQueueOptions. */
  everyMs?: number
}

/** The OpenTelemetry SDK, as far as it is needed. Loaded by whoever finds traces configured, and by nobody else. */
export function openTracing({ config, platform, instance, log, everyMs }: TracingParts): OpenedTracing {
  const headers = JSON.parse(config.otelExporterOtlpHeaders?.reveal() ?? '{}') as Record<string, string>
  const queue = new SpanQueue({
    send: otlpSender(tracesUrl(config)!, headers),
    log,
    ...(everyMs !== undefined && { everyMs }),
  })
  const ids = new GivenIds()
  const provider = new TracerProvider({
    resource: defaultResource().merge(
      resourceFromAttributes({
        'service.version': version,
        'service.instance.id': instance,
        'deployment.environment.name': config.environment,
        'automatos.platform': platform,
        ...Object.fromEntries(config.otelResourceAttributes ?? []),
        'service.name': config.otelServiceName,
      }),
    ),
    sampler: createSampler(config),
    idGenerator: ids,
    spanProcessors: [queue],
    // A trace is read by people: what is longer than this is a document, not an attribute.
    spanLimits: { attributeValueLengthLimit: 4096, attributeCountLimit: 64 },
  })
  const tracer = provider.getTracer('automatos-orchestrator', version)
  return {
    tracer,
    resume(place, name, options, parent) {
      ids.next = place
      try {
        return tracer.startSpan(name, options, below(parent))
      } finally {
        ids.next = null
      }
    },
    flush: () => queue.flush(),
    collector: () => queue.metrics(),
    close: () => queue.shutdown(),
  }
}

/** Random ids, or those of a span whose place was given out before it was written. */
class GivenIds implements IdGenerator {
  next: SpanContext | null = null
  readonly #random = new RandomIdGenerator()

  generateTraceId(): string {
    return this.next?.traceId ?? this.#random.generateTraceId()
  }

  generateSpanId(): string {
    return this.next?.spanId ?? this.#random.generateSpanId()
  }
}
