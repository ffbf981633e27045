import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { expect, test } from 'vitest'
import { createApp } from '../../src/app.ts'
import type { Bindings } from '../../src/runtime/workers/bindings.ts'
import { createWorker } from '../../src/runtime/workers/worker.ts'
import { backgroundServices } from '../../src/services/background.ts'
import { runSlice } from '../../src/services/runs/index.ts'
import { refreshStaleSettings } from '../../src/services/settings/refresh.ts'
import { createIdentityProvider } from '../support/jwks-server.ts'

/** A fresh isolate, as far as it can be told, that trusts a provider of its own. */
async function isolate() {
  const provider = await createIdentityProvider()
  const settings = { AUTH_JWKS_URL: provider.url, AUTH_ISSUER: provider.issuer, AUTH_AUDIENCE: provider.audience }
  const start = () => {
    const worker = createWorker({ createApp, backgroundServices, refreshStaleSettings, runSlice })
    const bindings = { ...env, ...settings } as Bindings
    return async (token: string, path = '/api/auth/me') => {
      const context = createExecutionContext()
      const request = new Request(`http://localhost${path}`, { headers: { authorization: `Bearer ${token}` } })
      const response = await worker.fetch(request, bindings, context)
      const body = (await response.json()) as { [key: string]: any }
      await waitOnExecutionContext(context)
      return { status: response.status, body }
    }
  }
  return { provider, start }
}

test('first requests side by side share one read of the keys and make one user', async () => {
  const { provider, start } = await isolate()
  const send = start()
  const token = await provider.token({ claims: { sub: `user-${crypto.randomUUID()}` } })
  const answers = await Promise.all(Array.from({ length: 10 }, () => send(token)))
  expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(200))
  expect(new Set(answers.map(({ body }) => body['user'].id)).size).toBe(1)
  expect(new Set(answers.map(({ body }) => body['workspace'].id)).size).toBe(1)
  expect(await provider.reads()).toBe(1)
})

test('another isolate finds the keys that one has read', async () => {
  const { provider, start } = await isolate()
  const token = await provider.token({ claims: { sub: `user-${crypto.randomUUID()}` } })
  expect([(await start()(token)).status, (await start()(token)).status]).toEqual([200, 200])
  expect(await provider.reads()).toBe(1)
})

test('a provider that is away is 503, and health says so', async () => {
  const { provider, start } = await isolate()
  await provider.fail('an error')
  const send = start()
  expect((await send(await provider.token())).status).toBe(503)
  expect((await send('', '/health')).body['components']['identity']).toMatchObject({ status: 'unhealthy' })
})
