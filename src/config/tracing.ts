import type { Config } from '../config.ts'

/** Where traces go; null: tracing is off. The signal's own address is used as it is, the general one gets the path. */
export function tracesUrl(
  config: Pick<Config, 'otelExporterOtlpTracesEndpoint' | 'otelExporterOtlpEndpoint'>,
): string | null {
  const { otelExporterOtlpTracesEndpoint: traces, otelExporterOtlpEndpoint: base } = config
  return traces ?? (base === null ? null : `${base}/v1/traces`)
}

/** Statements are spans where whoever reads the log would see this much detail too. */
export const tracesSql = (config: Pick<Config, 'logLevel'>): boolean => config.logLevel === 'debug'
