import { z } from '@hono/zod-openapi'
import { operation, reply, type RouteGroup } from '../lib/operation.ts'
import { productName, version } from '../lib/version.ts'
import type { ApiMetrics } from '../services/metrics/api-metrics.ts'
import { createBacklog } from '../services/metrics/backlog.ts'
import {
  readSystemComponents,
  readSystemConfig,
  readSystemInfo,
  readSystemMetrics,
} from '../services/settings.service.ts'

const measured = z.number().nullable()
const ProcessFigures = z
  .object({
    host: z.string(),
    pid: z.int(),
    uptime_ms: z.number(),
    memory_bytes: z.number(),
    event_loop_lag_ms: measured,
  })
  .nullable()
  .openapi({ description: 'Null where there is no process that lasts.' })
const processExample = {
  host: 'node-1',
  pid: 42,
  uptime_ms: 86_400_000,
  memory_bytes: 180_000_000,
  event_loop_lag_ms: 1.2,
}

const Info = z
  .object({
    name: z.string(),
    version: z.string(),
    platform: z.enum(['node', 'bun', 'workers']),
    environment: z.enum(['development', 'test', 'production']),
    instance: z.string(),
    process: ProcessFigures,
    started_at: z.iso.datetime().nullable(),
    time: z.iso.datetime(),
    schema: z.object({ pending_migrations: z.array(z.string()) }),
  })
  .openapi('SystemInfo')
const Config = z
  .object({
    items: z.array(
      z.object({
        key: z.string(),
        category: z.string(),
        value: z.string().nullable().openapi({ description: 'Secrets are `***`; null where nothing sets it.' }),
        source: z.enum(['database', 'environment', 'default', 'computed', 'unset']),
      }),
    ),
    warnings: z.array(z.string()).openapi({ description: 'What was set and has no effect.' }),
  })
  .openapi('SystemConfig')
const Status = z.enum(['healthy', 'degraded', 'unhealthy'])
const Components = z
  .object({
    status: Status,
    components: z.record(
      z.string(),
      z.object({ status: Status, detail: z.string().optional(), latency_ms: measured.optional() }),
    ),
    services: z
      .array(
        z.object({
          name: z.string(),
          period_ms: z.number(),
          last_tick_at: z.string().nullable(),
          last_duration_ms: measured,
          last_result: z.enum(['ok', 'failed']).nullable(),
          last_done: measured,
          last_error: z.string().nullable(),
          lag_ms: z.number(),
          running_ms: measured,
          failures_in_a_row: z.int(),
          ticks: z.int(),
          failures: z.int(),
          troubled: z.boolean(),
        }),
      )
      .nullable()
      .openapi({ description: 'Background services of the process; null where none runs beside the requests.' }),
  })
  .openapi('SystemComponents')
const Metrics = z
  .object({
    scope: z.enum(['process', 'isolate']).openapi({ description: 'Whose figures they are; `/metrics` has them all.' }),
    uptime_ms: z.number(),
    http: z.object({ calls: z.int(), errors: z.int(), in_flight: z.int(), avg_ms: measured }),
    process: ProcessFigures,
    backlog: z
      .record(z.string(), z.number())
      .nullable()
      .openapi({ description: 'What waits in the database; null where it did not answer in time.' }),
  })
  .openapi('SystemMetrics')

export function systemRoutes(metrics: ApiMetrics): RouteGroup {
  const backlog = createBacklog()
  return {
    prefix: '/api/system',
    tag: 'System',
    description: 'The installation itself: its settings, its parts, its figures. For its operator.',
    operations: [
      operation(
        {
          operationId: 'getSystemInfo',
          method: 'get',
          path: '/info',
          summary: 'Read what runs here',
          access: 'system:read',
          responses: {
            200: {
              description: 'The process that answers.',
              schema: Info,
              example: {
                name: productName,
                version,
                platform: 'node',
                environment: 'production',
                instance: 'node-1-42-9c1e',
                process: processExample,
                started_at: '2026-11-21T08:00:00.000Z',
                time: '2026-11-22T08:00:00.000Z',
                schema: { pending_migrations: [] },
              },
            },
          },
        },
        async (ctx) => reply(200, await readSystemInfo(ctx)),
      ),
      operation(
        {
          operationId: 'getSystemConfig',
          method: 'get',
          path: '/config',
          summary: 'Read the configuration, redacted, with the source of each value',
          access: 'system:read',
          responses: {
            200: {
              description: 'Every variable as this process has it.',
              schema: Config,
              example: {
                items: [{ key: 'LOG_LEVEL', category: 'General', value: 'info', source: 'default' }],
                warnings: [],
              },
            },
          },
        },
        (ctx) => reply(200, readSystemConfig(ctx)),
      ),
      operation(
        {
          operationId: 'getSystemComponents',
          method: 'get',
          path: '/components',
          summary: 'Read how the parts fare, measured now',
          access: 'system:read',
          responses: {
            200: {
              description: 'Each part, asked now, and the background services.',
              schema: Components,
              example: {
                status: 'healthy',
                components: { database: { status: 'healthy', latency_ms: 0.8 } },
                services: null,
              },
            },
          },
        },
        async (ctx) => reply(200, await readSystemComponents(ctx)),
      ),
      operation(
        {
          operationId: 'getSystemMetrics',
          method: 'get',
          path: '/metrics',
          summary: 'Read the figures of the process and the backlog',
          access: 'system:read',
          responses: {
            200: {
              description: 'Measured values only.',
              schema: Metrics,
              example: {
                scope: 'process',
                uptime_ms: 86_400_000,
                http: { calls: 120_000, errors: 42, in_flight: 3, avg_ms: 3.4 },
                process: processExample,
                backlog: { automatos_runs_ready: 0 },
              },
            },
          },
        },
        async (ctx) => reply(200, await readSystemMetrics(ctx, { metrics, backlog })),
      ),
    ],
  }
}
