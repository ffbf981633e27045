import type { MetricFamily } from '../context.ts'

/** How a background service of this process fares. */
export interface ServiceStatus {
  name: string
  period_ms: number
  /** Null before the first tick. */
  last_tick_at: string | null
  last_duration_ms: number | null
  last_result: 'ok' | 'failed' | null
  last_done: number | null
  last_error: string | null
  /** How late the service is: the tick in progress or the last one, or the one that is overdue now. */
  lag_ms: number
  /** Null while no tick is in progress. */
  running_ms: number | null
  failures_in_a_row: number
  ticks: number
  failures: number
}

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
