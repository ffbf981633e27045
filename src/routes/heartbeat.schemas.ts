import { z } from '@hono/zod-openapi'
import { version } from '../lib/version.ts'
import { instanceStates, windows } from '../services/heartbeat.service.ts'

const health = z.enum(['healthy', 'degraded', 'unhealthy'])
const state = z.enum(instanceStates)
const count = z.int().min(0)
const perHealth = z.object({ healthy: count, degraded: count, unhealthy: count })

export const instanceSchema = z
  .object({
    id: z.string(),
    runtime: z.enum(['node', 'bun', 'workers']),
    version: z.string(),
    host: z.string().nullable().openapi({ description: 'Null on Workers.' }),
    pid: z.int().nullable().openapi({ description: 'Null on Workers.' }),
    state: state.openapi({ description: '`stale`: it has missed three beats. `stopped`: it said goodbye.' }),
    started_at: z.iso.datetime().openapi({ description: 'On Workers: since when this version beats.' }),
    last_beat_at: z.iso.datetime(),
    period_s: z.int().openapi({ description: 'Seconds between its beats.' }),
    load: z
      .object({
        runs_in_flight: count.nullable(),
        runs_capacity: count.nullable(),
        event_loop_lag_ms: z
          .number()
          .nullable()
          .openapi({ description: 'The longest that its event loop was held up between two beats.' }),
        memory_bytes: count.nullable(),
      })
      .openapi({ description: 'At its last beat; null = not measured there.' }),
    leases_held: count.openapi({ description: 'Runs that it is working on, by their leases, now.' }),
    components: z
      .record(
        z.string(),
        z.object({ status: health, detail: z.string().optional(), latency_ms: z.number().nullable().optional() }),
      )
      .openapi({ description: 'As it measured them for its last beat.' }),
  })
  .openapi('Instance')

export const instanceExample = {
  id: 'web-1-4711-0b6f2c9e',
  runtime: 'node',
  version,
  host: 'web-1',
  pid: 4711,
  state: 'alive',
  started_at: '2026-11-22T08:00:00.000Z',
  last_beat_at: '2026-11-22T12:00:00.000Z',
  period_s: 10,
  load: { runs_in_flight: 3, runs_capacity: 100, event_loop_lag_ms: 4.1, memory_bytes: 181_403_648 },
  leases_held: 3,
  components: { database: { status: 'healthy', latency_ms: 0.8 }, schema: { status: 'healthy', latency_ms: 1.1 } },
}

export const instanceServiceSchema = z
  .object({
    instance: z.string(),
    instance_state: state,
    measured_at: z.iso.datetime().openapi({ description: 'The beat that told it.' }),
    name: z.string(),
    period_ms: z.number(),
    last_tick_at: z.iso.datetime().nullable(),
    last_duration_ms: z.number().nullable(),
    last_result: z.enum(['ok', 'failed']).nullable(),
    last_done: z.int().nullable().openapi({ description: 'Units of work of the last pass that succeeded.' }),
    last_error: z
      .string()
      .nullable()
      .openapi({ description: 'Kind and code of the error, while it fails; the log has the message.' }),
    lag_ms: z.number().openapi({ description: 'How late it is.' }),
    running_ms: z.number().nullable().openapi({ description: 'How long the pass in progress has taken.' }),
    failures_in_a_row: count,
    ticks: count,
    failures: count,
    troubled: z.boolean().openapi({ description: 'Failing, or stuck in a pass.' }),
  })
  .openapi('BackgroundService')

export const instanceServiceExample = {
  instance: 'web-1-4711-0b6f2c9e',
  instance_state: 'alive',
  measured_at: '2026-11-22T12:00:00.000Z',
  name: 'runs',
  period_ms: 1000,
  last_tick_at: '2026-11-22T11:59:59.600Z',
  last_duration_ms: 3,
  last_result: 'ok',
  last_done: 2,
  last_error: null,
  lag_ms: 1,
  running_ms: null,
  failures_in_a_row: 0,
  ticks: 14_400,
  failures: 1,
  troubled: false,
}

export const heartbeatStatusSchema = z
  .object({
    status: health
      .nullable()
      .openapi({ description: 'Null: no instance is alive, so nothing was measured. Not lowered by one that died.' }),
    measured_at: z.iso.datetime(),
    instances: z.object({ alive: count, draining: count, stale: count, stopped: count }),
    components: z.array(
      z.object({
        name: z.string(),
        status: health.nullable().openapi({ description: 'Degraded: not all instances see it alike.' }),
        instances: perHealth.openapi({ description: 'How many of those that are alive see it how.' }),
        availability: z.array(
          z.object({
            window: z.enum(windows.map(({ window }) => window)),
            available_percent: z
              .number()
              .nullable()
              .openapi({ description: 'Share of the samples that were healthy or degraded; null without samples.' }),
            measured_percent: z
              .number()
              .openapi({ description: 'Share of the window, in steps of five minutes, in which it was measured.' }),
            samples: perHealth,
          }),
        ),
      }),
    ),
    troubled_services: z.array(
      z.object({
        instance: z.string(),
        name: z.string(),
        failures_in_a_row: count,
        last_error: z.string().nullable(),
        lag_ms: z.number(),
        running_ms: z.number().nullable(),
      }),
    ),
  })
  .openapi('HeartbeatStatus')

export const heartbeatStatusExample = {
  status: 'healthy',
  measured_at: '2026-11-22T12:00:00.000Z',
  instances: { alive: 2, draining: 0, stale: 0, stopped: 1 },
  components: [
    {
      name: 'database',
      status: 'healthy',
      instances: { healthy: 2, degraded: 0, unhealthy: 0 },
      availability: [
        {
          window: '1h',
          available_percent: 99.583,
          measured_percent: 100,
          samples: { healthy: 717, degraded: 0, unhealthy: 3 },
        },
        {
          window: '24h',
          available_percent: 99.583,
          measured_percent: 4.167,
          samples: { healthy: 717, degraded: 0, unhealthy: 3 },
        },
        {
          window: '7d',
          available_percent: 99.583,
          measured_percent: 0.595,
          samples: { healthy: 717, degraded: 0, unhealthy: 3 },
        },
      ],
    },
  ],
  troubled_services: [],
}
