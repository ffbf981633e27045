import { z } from '@hono/zod-openapi'
import { AppError } from '../lib/errors.ts'
import { operation, reply, type RouteGroup } from '../lib/operation.ts'
import { sameText } from '../lib/same-text.ts'
import { productName, version } from '../lib/version.ts'
import { reportHealth, reportReadiness } from '../services/health.service.ts'
import type { ApiMetrics } from '../services/metrics/api-metrics.ts'
import { createBacklog } from '../services/metrics/backlog.ts'
import type { LimiterState } from '../services/metrics/limiter-state.ts'
import { prometheusMediaType, writeMetrics } from '../services/metrics/prometheus.ts'

const Status = z.enum(['healthy', 'degraded', 'unhealthy'])
const Component = z
  .object({
    status: Status,
    detail: z.string().optional(),
    latency_ms: z.number().nullable().optional(),
  })
  .openapi('ComponentHealth')
const Components = z.record(z.string(), Component)
const Health = z
  .object({
    status: Status,
    version: z.string(),
    platform: z.enum(['node', 'bun', 'workers']),
    components: Components,
  })
  .openapi('Health', {
    example: {
      status: 'healthy',
      version,
      platform: 'node',
      components: { database: { status: 'healthy', latency_ms: 0.8 }, schema: { status: 'healthy', latency_ms: 1.1 } },
    },
  })
const Readiness = z
  .object({
    ready: z.boolean(),
    draining: z.boolean().openapi({ description: 'The process is shutting down and takes no new work.' }),
    components: Components,
  })
  .openapi('Readiness', {
    example: { ready: true, draining: false, components: { database: { status: 'healthy', latency_ms: 0.8 } } },
  })
const Liveness = z.object({ status: z.literal('alive') }).openapi('Liveness', { example: { status: 'alive' } })
const Welcome = z
  .object({ name: z.string(), version: z.string(), documentation: z.string().nullable(), health: z.string() })
  .openapi('Welcome', {
    example: { name: productName, version, documentation: '/docs', health: '/health' },
  })
const Endpoint = z
  .object({
    endpoint: z.string(),
    call_count: z.int(),
    error_count: z.int(),
    total_time_ms: z.number(),
    avg_time_ms: z.number(),
    min_time_ms: z.number(),
    max_time_ms: z.number(),
    p50_ms: z.number(),
    p95_ms: z.number(),
    p99_ms: z.number(),
    status_codes: z.record(z.string(), z.int()),
    last_called: z.iso.datetime().nullable(),
  })
  .openapi('EndpointStats', {
    example: {
      endpoint: 'GET /api/agents/{agent}',
      call_count: 120,
      error_count: 2,
      total_time_ms: 361.2,
      avg_time_ms: 3.01,
      min_time_ms: 1.2,
      max_time_ms: 40.7,
      p50_ms: 2.4,
      p95_ms: 8.1,
      p99_ms: 40.7,
      status_codes: { '200': 118, '404': 2 },
      last_called: '2026-11-22T12:00:00.000Z',
    },
  })
const Endpoints = z
  .object({
    scope: z.enum(['process', 'isolate']).openapi({ description: 'What the figures cover: on Workers one isolate.' }),
    items: z.array(Endpoint),
  })
  .openapi('EndpointStatsList')

export interface HealthSources {
  metrics: ApiMetrics
  limiterState: LimiterState
}

export function healthRoutes({ metrics, limiterState }: HealthSources): RouteGroup {
  const backlog = createBacklog()
  return {
    prefix: '',
    tag: 'System health',
    description: 'Whether the service can serve, measured at the moment of asking, and how its endpoints fare.',
    operations: [
      operation(
        {
          operationId: 'getWelcome',
          method: 'get',
          path: '/',
          summary: 'Name, version and where to go next',
          access: 'public',
          kind: 'health',
          responses: { 200: { description: 'Who answers here', schema: Welcome } },
        },
        ({ config }) =>
          reply(200, {
            name: productName,
            version,
            documentation: config.environment === 'production' ? null : '/docs',
            health: '/health',
          }),
      ),
      operation(
        {
          operationId: 'getHealth',
          method: 'get',
          path: '/health',
          summary: 'Measured state of every component',
          description: 'Answers 200 while the process can serve, also when an optional part is degraded, else 503.',
          access: 'public',
          kind: 'health',
          responses: {
            200: { description: 'It can serve', schema: Health },
            503: { description: 'It cannot serve', schema: Health },
          },
        },
        async (runtime) => {
          const health = await reportHealth(runtime, limiterState)
          return reply(health.status === 'unhealthy' ? 503 : 200, health, uncached)
        },
      ),
      operation(
        {
          operationId: 'getLiveness',
          method: 'get',
          path: '/health/live',
          summary: 'Whether the process answers at all',
          access: 'public',
          kind: 'health',
          responses: { 200: { description: 'It answers', schema: Liveness } },
        },
        () => reply(200, { status: 'alive' }, uncached),
      ),
      operation(
        {
          operationId: 'getReadiness',
          method: 'get',
          path: '/health/ready',
          summary: 'Whether requests may be sent here',
          description:
            'Answers 503 when the database does not answer, its schema is behind, or the process is shutting down.',
          access: 'public',
          kind: 'health',
          responses: {
            200: { description: 'Ready', schema: Readiness },
            503: { description: 'Not ready', schema: Readiness },
          },
        },
        async (runtime) => {
          const readiness = await reportReadiness(runtime)
          return reply(readiness.ready ? 200 : 503, readiness, uncached)
        },
      ),
      operation(
        {
          operationId: 'listEndpointStats',
          method: 'get',
          path: '/api/health/endpoints',
          summary: 'Calls, times and errors by endpoint, worst first',
          description: 'Kept in memory since the process began. Worst first: by share of errors, then by p95.',
          access: 'system:read',
          responses: { 200: { description: 'The endpoints that have been called', schema: Endpoints } },
        },
        ({ platform, clock }) =>
          reply(200, { scope: platform === 'workers' ? 'isolate' : 'process', items: metrics.worstFirst(clock) }),
      ),
      operation(
        {
          operationId: 'getMetrics',
          method: 'get',
          path: '/metrics',
          summary: 'Metrics in Prometheus text format',
          description: 'Public until `METRICS_TOKEN` is set; then that token is asked for as a Bearer token.',
          access: 'public',
          kind: 'health',
          responses: {
            200: {
              description: 'The metrics',
              schema: z.string(),
              contentType: prometheusMediaType,
              example: 'http_requests_in_flight 1\n',
            },
          },
          problems: ['unauthenticated'],
        },
        async (runtime, { request }) => {
          const token = runtime.config.metricsToken
          if (token !== null && !sameText(request.headers.get('authorization') ?? '', `Bearer ${token.reveal()}`)) {
            throw new AppError('unauthenticated', 'The metrics token is required as a Bearer token.', {
              headers: { 'www-authenticate': 'Bearer realm="metrics"' },
            })
          }
          return {
            status: 200,
            contentType: prometheusMediaType,
            headers: uncached,
            body: await writeMetrics(runtime, metrics, backlog),
          }
        },
      ),
    ],
  }
}

const uncached = { 'cache-control': 'no-store' }
