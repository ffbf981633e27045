import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { Secret } from '../../src/lib/secret.ts'
import { createTestDatabase } from '../support/database.ts'
import { createTestApp } from '../support/app.ts'
import { parseExposition } from '../support/exposition.ts'
import type { Problem } from '../support/things.ts'

const { app, database, signIn } = await createTestApp()

test('the front door says who answers and where the rest is', async () => {
  const welcome = await (await app.request('/')).json()
  expect(welcome).toMatchObject({ name: 'Automatos Orchestrator', documentation: '/docs', health: '/health' })
})

test('health measures every component now', async () => {
  const response = await app.request('/health')
  expect(response.status).toBe(200)
  expect(response.headers.get('cache-control')).toBe('no-store')
  expect(await response.json()).toMatchObject({
    status: 'healthy',
    platform: 'node',
    components: {
      database: { status: 'healthy', latency_ms: expect.any(Number) },
      schema: { status: 'healthy' },
      limiter: { status: 'healthy' },
    },
  })
})

test('an optional part that fails degrades, and its reason stays in the log', async () => {
  const limping = await createTestApp({
    database,
    runtime: { probes: { blobs: () => Promise.reject(new Error('s3://secret-bucket denied')) } },
  })
  const response = await limping.app.request('/health')
  expect(response.status).toBe(200)
  const text = await response.text()
  expect(JSON.parse(text)).toMatchObject({ status: 'degraded', components: { blobs: { status: 'unhealthy' } } })
  expect(text).not.toContain('secret-bucket')
  expect(limping.logged.some((line) => line.level === 'warn')).toBe(true)
})

test('without its database it cannot serve, says so, and is alive all the same', async () => {
  const own = await createTestDatabase()
  const broken = await createTestApp({ database: own })
  await own.close()
  expect((await broken.app.request('/health')).status).toBe(503)
  expect(await (await broken.app.request('/health/ready')).json()).toMatchObject({
    ready: false,
    components: { database: { status: 'unhealthy' } },
  })
  expect((await broken.app.request('/health/live')).status).toBe(200)
  const api = await broken.get('/api/agents')
  expect([api.status, ((await api.json()) as Problem).type]).toEqual([503, '/problems/unavailable'])
})

test('a schema that is behind answers 503 naming the command, until it has been migrated', async () => {
  const behind = await createTestApp()
  const { rows } = await sql<{ name: string }>`delete from schema_migrations
    where name = (select max(name) from schema_migrations) returning name`.execute(behind.db)
  const name = rows[0]!.name
  const response = await behind.get('/api/agents')
  expect(response.status).toBe(503)
  expect(await response.json()).toMatchObject({
    type: '/problems/schema-behind',
    detail: `The database lacks ${name}. Run: npm run migrate`,
  })
  expect((await behind.app.request('/health/ready')).status).toBe(503)
  await sql`insert into schema_migrations (name) values (${name})`.execute(behind.db)
  expect((await behind.get('/api/agents')).status).toBe(200)
  expect((await behind.app.request('/health/ready')).status).toBe(200)
})

test('from the beginning of the shutdown on it is not ready, and alive all the same', async () => {
  const shutdown = new AbortController()
  const ending = await createTestApp({ database, runtime: { shutdown: shutdown.signal } })
  expect(await (await ending.app.request('/health/ready')).json()).toMatchObject({ ready: true, draining: false })
  shutdown.abort()
  const response = await ending.app.request('/health/ready')
  expect(response.status).toBe(503)
  expect(await response.json()).toEqual({ ready: false, draining: true, components: {} })
  expect((await ending.app.request('/health/live')).status).toBe(200)
})

test('endpoints are listed worst first, by method and template', async () => {
  const fresh = await createTestApp({ database })
  await fresh.get('/api/agents')
  await fresh.get('/api/agents/01939f3c-5c2a-7b3e-9d1a-000000000000')
  await fresh.get('/docs')
  await fresh.app.request('/api/agents', { method: 'OPTIONS' })
  const stats = (await (await fresh.get('/api/health/endpoints')).json()) as { items: { endpoint: string }[] }
  expect(stats).toMatchObject({
    scope: 'process',
    items: [
      { endpoint: 'GET /api/agents/{agent}', call_count: 1, error_count: 1, status_codes: { '404': 1 } },
      { endpoint: 'GET /api/agents', call_count: 1, error_count: 0, status_codes: { '200': 1 } },
    ],
  })
})

test('endpoints are shown to those who may read the system', async () => {
  expect((await app.request('/api/health/endpoints')).status).toBe(401)
  expect((await (await signIn({ scopes: ['agents:read'] })).get('/api/health/endpoints')).status).toBe(403)
})

test('metrics are Prometheus text, counted by route and not by path', async () => {
  const fresh = await createTestApp({
    database,
    runtime: {
      collectors: [
        () => [
          {
            name: 'automatos_service_lag_seconds',
            help: 'Lag "x"\nof a service.',
            type: 'gauge',
            samples: [{ labels: { service: 'a"b\\c' }, value: 1.5 }],
          },
        ],
      ],
    },
  })
  await fresh.get('/api/agents/01939f3c-5c2a-7b3e-9d1a-000000000000')
  const response = await fresh.app.request('/metrics')
  expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
  const text = await response.text()
  expect(text).toContain('http_requests_total{method="GET",route="/api/agents/{agent}",status="404"} 1\n')
  expect(text).toContain('http_request_duration_seconds_bucket{method="GET",route="/api/agents/{agent}",le="+Inf"} 1\n')
  expect(text).toContain('http_requests_in_flight 1\n')
  expect(text).toMatch(/automatos_info\{version="[^"]+",platform="node",environment="test",scope="process"\} 1\n/)
  expect(text).toContain('# HELP automatos_service_lag_seconds Lag "x"\\nof a service.\n')
  expect(text).toContain('automatos_service_lag_seconds{service="a\\"b\\\\c"} 1.5\n')
  expect(() => parseExposition(text)).not.toThrow()
})

test('on Workers the figures say that they are of one isolate', async () => {
  const worker = await createTestApp({ database, runtime: { platform: 'workers' } })
  expect(await (await worker.app.request('/metrics')).text()).toContain('scope="isolate"')
  expect(await (await worker.get('/api/health/endpoints')).json()).toMatchObject({ scope: 'isolate' })
})

test('metrics are public until a token is set', async () => {
  const closed = await createTestApp({ database, config: { metricsToken: new Secret('sesame') } })
  const ask = (authorization?: string) =>
    closed.app.request('/metrics', authorization === undefined ? {} : { headers: { authorization } })
  expect((await ask()).status).toBe(401)
  expect((await ask('Bearer sesamE')).status).toBe(401)
  expect((await ask('Bearer sesame')).status).toBe(200)
})
