import type { MetricFamily, ServiceStatus } from '../context.ts'

type Measure = [
  name: string,
  type: MetricFamily['type'],
  help: string,
  value: (service: ServiceStatus) => number | null,
]

const measures: Measure[] = [
  ['automatos_service_ticks_total', 'counter', 'Passes of a background service.', ({ ticks }) => ticks],
  ['automatos_service_failures_total', 'counter', 'Passes that failed.', ({ failures }) => failures],
  [
    'automatos_service_failures_in_a_row',
    'gauge',
    'Failures since the last pass that succeeded.',
    (service) => service.failures_in_a_row,
  ],
  ['automatos_service_lag_seconds', 'gauge', 'How late the service is.', ({ lag_ms }) => lag_ms / 1000],
  [
    'automatos_service_last_duration_seconds',
    'gauge',
    'Length of the last pass.',
    ({ last_duration_ms }) => (last_duration_ms === null ? null : last_duration_ms / 1000),
  ],
]

export function serviceMetrics(services: readonly ServiceStatus[]): MetricFamily[] {
  return measures.map(([name, type, help, valueOf]) => ({
    name,
    help,
    type,
    samples: services.flatMap((service) => {
      const value = valueOf(service)
      return value === null ? [] : [{ labels: { service: service.name }, value }]
    }),
  }))
}
