import type { Collector } from '../../context.ts'
import { Histogram } from '../../lib/metrics/instruments.ts'

/** What Node and Bun can tell of their process, under the names that Prometheus clients use everywhere. */
export function processMetrics(): { collector: Collector; observeLag(ms: number): void } {
  const lag = new Histogram(
    'automatos_event_loop_lag_seconds',
    'How late a timer of a quarter second came.',
    [],
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5],
  )
  const startedSeconds = Date.now() / 1000 - process.uptime()
  const gauge = (name: string, help: string, value: number) => ({
    name,
    help,
    type: 'gauge' as const,
    samples: [{ value }],
  })
  return {
    collector() {
      const { rss, heapUsed } = process.memoryUsage()
      const { user, system } = process.cpuUsage()
      return [
        gauge('process_resident_memory_bytes', 'Memory that the process occupies.', rss),
        gauge('process_heap_bytes', 'Memory of live JavaScript objects and those not yet collected.', heapUsed),
        gauge('process_start_time_seconds', 'When the process began, in seconds since 1970.', startedSeconds),
        {
          name: 'process_cpu_seconds_total',
          help: 'Processor time of the process, user and system.',
          type: 'counter',
          samples: [{ value: (user + system) / 1e6 }],
        },
        lag.family(),
      ]
    },
    observeLag: (ms) => lag.observe(ms / 1000),
  }
}
