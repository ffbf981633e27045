import type { MetricFamily, Runtime } from '../../context.ts'
import { version } from '../../lib/version.ts'
import { bucketSamples } from '../../lib/metrics/instruments.ts'
import { durationBounds, type ApiMetrics } from './api-metrics.ts'

export const prometheusMediaType = 'text/plain; version=0.0.4; charset=utf-8'

/** Everything in Prometheus text format 0.0.4. On Workers what is counted is of one isolate, and says so. */
export async function writeMetrics(
  runtime: Runtime,
  api: ApiMetrics,
  backlog: (runtime: Runtime) => Promise<MetricFamily[]>,
): Promise<string> {
  const collected = await Promise.all([
    backlog(runtime),
    ...(runtime.collectors ?? []).map(async (collect) => collect()),
  ])
  const families = [...ownFamilies(runtime, api), ...(runtime.measures?.families() ?? []), ...collected.flat()]
  return families.map(writeFamily).join('')
}

function ownFamilies({ platform, config, clock }: Runtime, api: ApiMetrics): MetricFamily[] {
  const scope = platform === 'workers' ? 'isolate' : 'process'
  return [
    {
      name: 'automatos_info',
      help: 'What is running. The figures cover what the label scope names.',
      type: 'gauge',
      samples: [{ labels: { version, platform, environment: config.environment, scope }, value: 1 }],
    },
    {
      name: 'automatos_uptime_seconds',
      help: 'Seconds since the app was assembled.',
      type: 'gauge',
      samples: [{ value: api.uptimeMs(clock) / 1000 }],
    },
    {
      name: 'http_requests_in_flight',
      help: 'Requests whose answer has not ended.',
      type: 'gauge',
      samples: [{ value: api.inFlight }],
    },
    {
      name: 'http_requests_total',
      help: 'Answers by method, route and status.',
      type: 'counter',
      samples: api.slots().flatMap((slot) =>
        [...slot.statusCodes].map(([status, value]) => ({
          labels: { method: slot.method, route: slot.template, status: String(status) },
          value,
        })),
      ),
    },
    {
      name: 'http_streams_failed_total',
      help: 'Answers that began well and broke on the way.',
      type: 'counter',
      samples: api
        .slots()
        .filter((slot) => slot.failedStreams > 0)
        .map((slot) => ({ labels: { method: slot.method, route: slot.template }, value: slot.failedStreams })),
    },
    {
      name: 'http_request_duration_seconds',
      help: 'Time to the head of the answer.',
      type: 'histogram',
      samples: api.slots().flatMap((slot) =>
        bucketSamples({ method: slot.method, route: slot.template }, durationBounds, {
          counts: slot.buckets,
          sum: slot.totalMs / 1000,
          count: slot.callCount,
        }),
      ),
    },
  ]
}

function writeFamily({ name, help, type, samples }: MetricFamily): string {
  const lines = samples.map(
    ({ suffix = '', labels, value }) => `${name}${suffix}${writeLabels(labels)} ${writeNumber(value)}\n`,
  )
  return `# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} ${type}\n${lines.join('')}`
}

function writeLabels(labels: Record<string, string> = {}): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`)
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}

const escapeHelp = (text: string) => text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
const escapeLabel = (text: string) => escapeHelp(text).replaceAll('"', '\\"')
const writeNumber = (value: number) =>
  value === Infinity ? '+Inf' : value === -Infinity ? '-Inf' : Number.isNaN(value) ? 'NaN' : String(value)
