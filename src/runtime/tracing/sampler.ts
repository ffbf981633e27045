import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
  type Sampler,
} from '@opentelemetry/sdk-trace'
import type { Config } from '../../config.ts'

/** The standard names. Parent-based ones follow whoever began the trace, and decide alone only where nobody did. */
export function createSampler(config: Pick<Config, 'otelTracesSampler' | 'otelTracesSamplerArg'>): Sampler {
  const name = config.otelTracesSampler
  const root = name.endsWith('always_on')
    ? new AlwaysOnSampler()
    : name.endsWith('always_off')
      ? new AlwaysOffSampler()
      : new TraceIdRatioBasedSampler(config.otelTracesSamplerArg)
  return name.startsWith('parentbased_') ? new ParentBasedSampler({ root }) : root
}
