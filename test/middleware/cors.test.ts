import { expect, test } from 'vitest'
import { createTestApp } from '../support/app.ts'
import { things } from '../support/things.ts'

const { app, database, get } = await createTestApp({ groups: [things] })
const preflight = (origin: string, path = '/api/things', to = app) =>
  to.request(path, {
    method: 'OPTIONS',
    headers: { origin, 'access-control-request-method': 'PATCH', 'access-control-request-headers': 'authorization' },
  })

test('a preflight of an allowed origin is answered without a key', async () => {
  for (const path of ['/api/things', '/api/things/a/echo', '/api/nothing']) {
    const response = await preflight('https://console.example', path)
    expect(response.status).toBe(204)
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'access-control-allow-origin': 'https://console.example',
      'access-control-allow-credentials': 'true',
      'access-control-allow-methods': 'GET, POST, PUT, PATCH, DELETE, OPTIONS',
      'access-control-allow-headers':
        'Authorization, Content-Type, X-API-Key, X-Workspace-ID, X-Request-ID, Idempotency-Key, Last-Event-ID, If-Match, If-None-Match, Prefer',
      vary: 'Origin',
      'x-request-id': expect.any(String),
      'x-frame-options': 'DENY',
    })
  }
})

test.each(['https://console.example.evil', 'http://console.example', 'null', 'https://evil.example'])(
  'another origin is let in nowhere: %s',
  async (origin) => {
    for (const response of [await preflight(origin), await get('/api/things', { origin })]) {
      expect([...response.headers.keys()].filter((name) => name.startsWith('access-control-'))).toEqual([])
      expect(response.headers.get('vary')).toBe('Origin')
    }
  },
)

test('errors can be read across origins too', async () => {
  const response = await app.request('/api/things', { headers: { origin: 'https://console.example' } })
  expect(response.status).toBe(401)
  expect(response.headers.get('access-control-allow-origin')).toBe('https://console.example')
})

test('without allowed origins there is no cross-origin access', async () => {
  const closed = await createTestApp({ groups: [things], database, config: { corsAllowOrigins: [] } })
  const response = await preflight('https://console.example', '/api/things', closed.app)
  expect(response.headers.get('access-control-allow-origin')).toBeNull()
})
