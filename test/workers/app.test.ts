import { createExecutionContext, createScheduledController, waitOnExecutionContext } from 'cloudflare:test'
import { env, exports } from 'cloudflare:workers'
import { expect, test } from 'vitest'
import { createApp } from '../../src/app.ts'
import worker from '../../src/index.ts'
import type { Bindings } from '../../src/runtime/workers/bindings.ts'
import { createWorker } from '../../src/runtime/workers/worker.ts'
import { backgroundServices } from '../../src/services/background.ts'
import { runSlice } from '../../src/services/runs/index.ts'
import { refreshStaleSettings } from '../../src/services/settings/refresh.ts'

async function call(path: string, bindings: Bindings = env) {
  const context = createExecutionContext()
  const response = await worker.fetch(new Request(`http://localhost${path}`), bindings, context)
  const body = await response.text()
  await waitOnExecutionContext(context)
  return { status: response.status, headers: response.headers, body: JSON.parse(body) as Record<string, never> }
}

test('answers /health with the measured state of its bindings', async () => {
  const { status, body } = await call('/health')
  expect(status).toBe(200)
  expect(body['components']).toMatchObject({
    database: { status: 'healthy' },
    blobs: { status: 'healthy' },
    wake: { status: 'healthy' },
    kv: { status: 'healthy', detail: 'Durable Object' },
    limiter: { status: 'healthy', detail: 'Durable Object' },
  })
})

test('serves requests side by side, each with a database client of its own', async () => {
  const answers = await Promise.all(Array.from({ length: 10 }, () => call('/health')))
  expect(answers.map((answer) => answer.status)).toEqual(Array(10).fill(200))
})

test('all isolates count for one budget', async () => {
  const ask = async (app: typeof worker) => {
    const request = new Request('http://localhost/api/workspaces', { headers: { 'cf-connecting-ip': '192.0.2.77' } })
    const context = createExecutionContext()
    const response = await app.fetch(request, env, context)
    await waitOnExecutionContext(context)
    return Number(response.headers.get('ratelimit-remaining'))
  }
  // What another isolate has: an app and settings of its own.
  const other = createWorker({ createApp, backgroundServices, refreshStaleSettings, runSlice })
  const first = await ask(worker)
  expect([await ask(other as typeof worker), await ask(worker)]).toEqual([first - 1, first - 2])
})

test('with Upstash configured no Durable Object is asked', async () => {
  const upstash = { UPSTASH_REDIS_REST_URL: 'http://127.0.0.1:9', UPSTASH_REDIS_REST_TOKEN: 'token' }
  const { body } = await call('/health', { ...env, ...upstash } as Bindings)
  expect(body['components']).toMatchObject({
    kv: { status: 'unhealthy', detail: 'Upstash does not answer' },
    limiter: { status: 'degraded', detail: 'Upstash does not answer; requests pass unlimited' },
  })
})

test('lets nobody in without a key', async () => {
  const { status, body } = await call('/api/workspaces')
  expect([status, body['type']]).toEqual([401, '/problems/unauthenticated'])
})

test('serves its static files through the API alone', async () => {
  const direct = await exports.default.fetch('http://localhost/swagger-ui.css')
  expect(direct.status).toBe(404)
  await direct.text()
  const page = await exports.default.fetch('http://localhost/docs/swagger-ui.css')
  expect([page.status, page.headers.get('content-type')]).toEqual([200, 'text/css; charset=utf-8'])
  await page.text()
})

test('a bad configuration answers 503 and keeps its faults to the log', async () => {
  // As in a fresh isolate, whose first request brings the settings.
  const fresh = createWorker({ createApp, backgroundServices, refreshStaleSettings, runSlice })
  const broken = { ...env, RATE_LIMIT_DEFAULT: 'often' } as Bindings
  const response = await fresh.fetch(new Request('http://localhost/health'), broken, createExecutionContext())
  expect([response.status, response.headers.get('content-type')]).toEqual([503, 'application/problem+json'])
  expect(await response.text()).not.toContain('RATE_LIMIT_DEFAULT')
  await expect(fresh.scheduled(createScheduledController(), broken, createExecutionContext())).rejects.toThrow(
    'RATE_LIMIT_DEFAULT',
  )
})
