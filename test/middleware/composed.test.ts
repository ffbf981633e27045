import { Hono } from 'hono'
import { expect, test } from 'vitest'
import { AppError } from '../../src/lib/errors.ts'
import type { Reply } from '../../src/lib/operation.ts'
import { apiTracking, apiTrackingLayer } from '../../src/middleware/api-tracking.ts'
import { asHandler, exchange, type LayerEnv } from '../../src/middleware/as-middleware.ts'
import { bodyLimit, bodyLimitLayer } from '../../src/middleware/body-limit.ts'
import { cors, corsLayer } from '../../src/middleware/cors.ts'
import type { Route } from '../../src/middleware/exchange.ts'
import { compile, type Answer } from '../../src/middleware/pipeline.ts'
import { toProblem } from '../../src/middleware/problems.ts'
import { rateLimit, rateLimitLayer } from '../../src/middleware/rate-limit.ts'
import { requestId, requestIdLayer } from '../../src/middleware/request-id.ts'
import { toResponse } from '../../src/middleware/respond.ts'
import { securityHeaders, securityHeadersLayer } from '../../src/middleware/security-headers.ts'
import { widget, widgetLayer } from '../../src/middleware/widget.ts'
import { createMemoryLimiter } from '../../src/runtime/memory-limiter.ts'
import { ApiMetrics } from '../../src/services/metrics/api-metrics.ts'
import { createLimiterState } from '../../src/services/metrics/limiter-state.ts'
import { createTestApp } from '../support/app.ts'
import { streamOf } from '../support/things.ts'

// A clock that stands still, so that both sides count and time alike.
const clock = { now: () => new Date(0), monotonicMs: () => 0 }
const config = { rateLimitDefault: { limit: 6, windowSeconds: 60 }, environment: 'production' as const }
const base = await createTestApp({ config, runtime: { clock } })

const answers: Record<string, Answer> = {
  '/json': () => ({
    status: 201,
    body: { a: 1 },
    headers: { location: '/x', 'content-security-policy': "default-src 'self'" },
  }),
  '/later': async () => ({ status: 200, body: [1] }),
  '/empty': () => ({ status: 204, headers: { vary: 'Accept' } }),
  '/text': () => ({ status: 200, body: 'hello', contentType: 'text/plain' }),
  '/bytes': () => ({ status: 200, body: new Uint8Array([1, 2]), contentType: 'application/octet-stream' }),
  '/stream': () => ({ status: 200, body: streamOf(['a', 'b']), contentType: 'text/event-stream' }),
  '/broken-stream': () => ({ status: 200, body: streamOf(['a'], new Error('x')), contentType: 'text/event-stream' }),
  '/refusal': () => {
    throw new AppError('conflict', 'Taken.', { headers: { 'x-more': '1' } })
  },
  '/bug': async () => {
    throw new Error('bug')
  },
  '/api/widgets/x': () => ({ status: 200, body: {} }),
}

const toRoute = (path: string): Route => ({
  method: 'GET',
  path,
  template: path,
  kind: path === '/text' ? 'asset' : 'api',
  access: 'public',
  widget: path.startsWith('/api/widgets'),
  ticket: false,
  maxBodyBytes: 10,
})

/** The same answers twice: compiled as the product does it, and through the layers as ordinary middleware. */
function pair() {
  const fresh = () => ({
    runtime: { ...base.runtime, limiter: createMemoryLimiter(clock) },
    metrics: new ApiMetrics(),
    state: createLimiterState(),
  })
  const one = fresh()
  const compiled = new Hono()
  const layers = [
    requestIdLayer(),
    apiTrackingLayer(one.metrics),
    securityHeadersLayer(one.runtime.config),
    corsLayer(one.runtime.config),
    widgetLayer(one.state),
    rateLimitLayer(one.runtime.config, one.state),
    bodyLimitLayer(),
  ]
  const two = fresh()
  const composed = new Hono<LayerEnv>()
  composed.onError((error, c) =>
    respond(toProblem(error, c.get('exchange')), c.get('exchange').method, c.get('onBodyEnd')),
  )

  for (const [path, answer] of Object.entries(answers)) {
    const route = toRoute(path)
    compiled.all(path, asHandler(compile(() => ({ runtime: one.runtime }), layers, route, answer)))
    composed.all(
      path,
      exchange(() => ({ runtime: two.runtime }), route),
      requestId(),
      apiTracking(two.metrics),
      securityHeaders(two.runtime.config),
      cors(two.runtime.config),
      widget(two.state),
      rateLimit(two.runtime.config, two.state),
      bodyLimit(),
      async (c) => {
        const reply = await answer(c.get('exchange'), () => undefined)
        return respond(reply, c.get('exchange').method, c.get('onBodyEnd'))
      },
    )
  }
  return { compiled, composed, metrics: [one.metrics, two.metrics] as const }
}

const respond = (reply: Reply, method: string, onBodyEnd: ((error: unknown) => void)[]) =>
  toResponse(reply, method, {}, (error) => onBodyEnd.forEach((ended) => ended(error)))

async function show(response: Response) {
  const headers = Object.fromEntries([...response.headers].toSorted())
  const body = await response.text().catch(() => 'broken')
  return { status: response.status, headers, body }
}

const requests: [string, string, RequestInit][] = Object.keys(answers).flatMap(
  (path): [string, string, RequestInit][] => [
    ['GET', path, {}],
    ['GET with origin', path, { headers: { origin: 'https://console.example', 'x-request-id': 'mine' } }],
    ['GET from elsewhere', path, { headers: { origin: 'https://elsewhere.example' } }],
    ['HEAD', path, { method: 'HEAD' }],
    [
      'preflight',
      path,
      { method: 'OPTIONS', headers: { origin: 'https://console.example', 'access-control-request-method': 'POST' } },
    ],
    ['too long', path, { method: 'POST', headers: { 'content-length': '11' } }],
  ],
)

test.each(requests)('%s %s: compiled and composed layers give one answer', async (_, path, init) => {
  const { compiled, composed } = pair()
  const ask = (app: Pick<Hono, 'fetch'>) => {
    const headers = new Headers(init.headers)
    if (!headers.has('x-request-id')) headers.set('x-request-id', 'fixed')
    return app.fetch(new Request(`http://localhost${path}`, { ...init, headers }), {})
  }
  const [a, b] = [await show(await ask(compiled)), await show(await ask(composed as unknown as Hono))]
  expect(a).toEqual(b)
  expect(a.headers['x-request-id']).toMatch(/fixed|mine/)
})

test('both count the same calls and refuse the same one', async () => {
  const { compiled, composed, metrics } = pair()
  for (const app of [compiled, composed as unknown as Hono]) {
    const statuses = []
    for (let i = 0; i < 8; i++) statuses.push((await app.fetch(new Request('http://localhost/json'), {})).status)
    expect(statuses).toEqual([201, 201, 201, 201, 201, 201, 429, 429])
    await (await app.fetch(new Request('http://localhost/broken-stream'), {})).text().catch(() => {})
  }
  expect(metrics[0].worstFirst(clock)).toEqual(metrics[1].worstFirst(clock))
  expect(metrics[0].inFlight).toBe(metrics[1].inFlight)
})
