import type { MetricFamily } from '../../context.ts'
import type { PostgresPool } from '../postgres-pool.ts'

/** How the connections to PostgreSQL stand; the embedded database has none. */
export function poolMetrics(pool: PostgresPool): MetricFamily[] {
  const { most, open, idle, waiting } = pool.usage()
  return [
    {
      name: 'automatos_database_connections',
      help: 'Connections of this process to PostgreSQL.',
      type: 'gauge',
      samples: [
        { labels: { state: 'busy' }, value: open - idle },
        { labels: { state: 'idle' }, value: idle },
      ],
    },
    {
      name: 'automatos_database_connections_limit',
      help: 'Connections that this process opens at most.',
      type: 'gauge',
      samples: [{ value: most }],
    },
    {
      name: 'automatos_database_waiting',
      help: 'Statements that wait for a free connection.',
      type: 'gauge',
      samples: [{ value: waiting }],
    },
  ]
}
