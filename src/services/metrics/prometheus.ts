import type { MetricFamily, Runtime } from '../../context.ts'
import { version } from '../../lib/version.ts'
import type { ApiMetrics, EndpointSlot } from './api-metrics.ts'

export const prometheusMediaType = 'text/plain; version=0.0.4; charset=utf-8'

/** Everything in Prometheus text format 0.0.4. On Workers the figures are of one isolate, and say so. */
export async function writeMetrics(runtime: Runtime, api: ApiMetrics): Promise<string> {
  const extra = await Promise.all((runtime.collectors ?? []).map(async (collect) => collect()))
  const families = [...ownFamilies(runtime, api), ...extra.flat()]
  return [...families.map(writeFamily), writeDurations(api.slots())].join('')
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
  ]
}

function writeFamily({ name, help, type, samples }: MetricFamily): string {
  const lines = samples.map(({ labels, value }) => `${name}${writeLabels(labels)} ${writeNumber(value)}\n`)
  return `# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} ${type}\n${lines.join('')}`
}

function writeDurations(slots: EndpointSlot[]): string {
  const name = 'http_request_duration_seconds'
  const fractions = [0.5, 0.95, 0.99]
  const lines = slots.flatMap((slot) => {
    const labels = { method: slot.method, route: slot.template }
    const times = slot.quantiles(...fractions)
    return [
      ...fractions.map(
        (quantile, i) =>
          `${name}${writeLabels({ ...labels, quantile: String(quantile) })} ${writeNumber(times[i]! / 1000)}\n`,
      ),
      `${name}_sum${writeLabels(labels)} ${writeNumber(slot.totalMs / 1000)}\n`,
      `${name}_count${writeLabels(labels)} ${slot.callCount}\n`,
    ]
  })
  return `# HELP ${name} Time to the head of the answer; quantiles over the last hundred calls.\n# TYPE ${name} summary\n${lines.join('')}`
}

function writeLabels(labels: Record<string, string> = {}): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`)
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}

const escapeHelp = (text: string) => text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
const escapeLabel = (text: string) => escapeHelp(text).replaceAll('"', '\\"')
const writeNumber = (value: number) =>
  value === Infinity ? '+Inf' : value === -Infinity ? '-Inf' : Number.isNaN(value) ? 'NaN' : String(value)
