import { expect, onTestFinished, test, vi } from 'vitest'
import { assemble } from '../../src/app.ts'
import { createTestApp, testConfig } from '../support/app.ts'
import { things, type Problem } from '../support/things.ts'

const { app, get, post, request, signIn, workspaceId, database, key } = await createTestApp({ groups: [things] })

const securityHeaders = {
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'strict-origin-when-cross-origin',
  'permissions-policy': 'camera=(), microphone=(), geolocation=()',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
}

test('an operation answers with the headers of every layer', async () => {
  const response = await get('/api/things?limit=7', { 'x-request-id': 'abc.D-1_2', origin: 'https://console.example' })
  expect(await response.json()).toEqual({ items: [], limit: 7, workspace: workspaceId })
  expect(Object.fromEntries(response.headers)).toEqual({
    ...securityHeaders,
    'content-type': 'application/json',
    'x-request-id': 'abc.D-1_2',
    vary: 'Origin',
    'access-control-allow-origin': 'https://console.example',
    'access-control-allow-credentials': 'true',
    'access-control-expose-headers': expect.stringContaining('Retry-After'),
    'ratelimit-limit': '100000',
    'ratelimit-remaining': expect.stringMatching(/^\d+$/),
    'ratelimit-reset': expect.stringMatching(/^\d+$/),
  })
})

test.each(['', 'a b', 'x'.repeat(129), '%C3%A4', '<script>'])(
  'an id that is not presentable is replaced: %j',
  async (id) => {
    const response = await app.request('/api/things/open', { headers: { 'x-request-id': id } })
    expect(response.headers.get('x-request-id')).toMatch(/^[0-9a-f]{12}$/)
  },
)

const failures: [number, string, () => Promise<Response>][] = [
  [
    400,
    'malformed',
    () => request('POST', '/api/things/a', undefined, { 'content-type': 'application/json', 'content-length': 'x' }),
  ],
  [401, 'unauthenticated', () => app.request('/api/things')],
  [403, 'forbidden', async () => (await signIn({ scopes: ['agents:read'] })).post('/api/things/a', {})],
  [404, 'not-found', () => get('/api/nothing/here')],
  [405, 'method-not-allowed', () => request('DELETE', '/api/things')],
  [413, 'too-large', () => request('POST', '/api/things/a', undefined, { 'content-length': '10485761' })],
  [415, 'unsupported-media-type', () => post('/api/things/a', { name: 'x' }, { 'content-type': 'text/plain' })],
  [422, 'invalid', () => post('/api/things/a', { name: 1 })],
  [500, 'internal', () => get('/api/things/broken')],
  [502, 'upstream-failed', () => get('/api/things/lost')],
]
test.each(failures)('%i is a problem document with id and headers', async (status, kind, send) => {
  const response = await send()
  expect(response.status).toBe(status)
  expect(Object.fromEntries(response.headers)).toMatchObject({
    ...securityHeaders,
    'content-type': 'application/problem+json',
    vary: 'Origin',
  })
  const problem = (await response.json()) as Problem
  expect(problem).toMatchObject({
    type: `/problems/${kind}`,
    status,
    title: expect.any(String),
    detail: expect.any(String),
    instance: expect.stringMatching(/^\/api\//),
    request_id: response.headers.get('x-request-id'),
  })
})

test('429 is a problem document with id, headers and the seconds to wait', async () => {
  const limited = await createTestApp({
    groups: [things],
    database,
    config: { rateLimitDefault: { limit: 1, windowSeconds: 60 } },
  })
  await limited.app.request('/api/things/open')
  const response = await limited.app.request('/api/things/open')
  expect(response.status).toBe(429)
  expect(Object.fromEntries(response.headers)).toMatchObject({
    ...securityHeaders,
    'ratelimit-limit': '1',
    'ratelimit-remaining': '0',
    'retry-after': expect.stringMatching(/^[1-9]\d*$/),
    'x-request-id': expect.any(String),
  })
})

test('one answer names all faults: body, path, query and headers', async () => {
  const body = (await (await post('/api/things/too-long', { name: 1, 'a/b~c': 'red' })).json()) as Problem
  expect(body.errors?.map((fault) => fault.pointer).toSorted()).toEqual(['/a~1b~0c', '/name', '/params/thing', '/size'])
  const query = (await (await get('/api/things?limit=201', { 'if-match': 'x' })).json()) as Problem
  expect(query.errors?.map((fault) => fault.pointer)).toEqual(['/query/limit', '/headers/if-match'])
})

test('paths answer with and without a trailing slash', async () => {
  for (const path of ['/api/things', '/api/things/', '/api/things/open', '/api/things/open/']) {
    expect((await get(path)).status, path).toBe(200)
  }
  expect((await request('DELETE', '/api/things/')).headers.get('allow')).toBe('GET, HEAD, OPTIONS')
})

test('a static segment wins over a parameter', async () => {
  expect(await (await get('/api/things/open')).json()).toEqual({ open: true })
})

test('HEAD answers as GET does, without the body', async () => {
  const response = await request('HEAD', '/api/things')
  expect(response.status).toBe(200)
  expect(response.headers.get('content-type')).toBe('application/json')
  expect(await response.text()).toBe('')
})

test('OPTIONS without CORS names the methods, and is 404 where nothing is', async () => {
  const response = await app.request('/api/things', { method: 'OPTIONS' })
  expect([response.status, response.headers.get('allow')]).toEqual([204, 'GET, HEAD, OPTIONS'])
  expect((await app.request('/api/nothing', { method: 'OPTIONS' })).status).toBe(404)
})

test('a path that is written with percent signs is the same path for every method', async () => {
  const path = '/api/%74hings/'
  const seen = await Promise.all(
    ['GET', 'OPTIONS', 'DELETE'].map(async (method) => {
      const { status, headers } = await request(method, path)
      return [status, headers.get('allow')]
    }),
  )
  expect(seen).toEqual([
    [200, null],
    [204, 'GET, HEAD, OPTIONS'],
    [405, 'GET, HEAD, OPTIONS'],
  ])
})

test('an unexpected message reaches nobody but a developer, and the log with its id', async () => {
  const ids = { 'x-request-id': 'trace-me' }
  const hiding = await createTestApp({ groups: [things], database, config: { environment: 'production' } })
  const hidden = await hiding.app.request('/api/things/broken', { headers: ids })
  expect(await hidden.text()).not.toMatch(/vault|stack/)
  expect(hidden.headers.get('strict-transport-security')).toBe('max-age=63072000; includeSubDomains; preload')
  expect(hiding.logged.find((line) => line.level === 'error')?.fields).toMatchObject({
    request_id: 'trace-me',
    error: expect.stringContaining('select secret from vault'),
  })
  const showing = await createTestApp({ groups: [things], database, config: { environment: 'development' } })
  const shown = await showing.app.request('/api/things/broken', { headers: ids })
  expect(((await shown.json()) as Problem).stack).toContain('select secret from vault')
  expect(shown.headers.get('strict-transport-security')).toBeNull()
})

test('a body that cannot be written is a 500 like any other bug', async () => {
  expect((await get('/api/things/cycle')).status).toBe(500)
})

test('an error of its own may bring headers', async () => {
  expect((await get('/api/things/lost')).headers.get('retry-after')).toBe('7')
})

test('whoever loses a race for the same rows may try again in a moment', async () => {
  const response = await get('/api/things/contested')
  expect([response.status, response.headers.get('retry-after')]).toEqual([503, '1'])
})

test('a synchronous handler is answered without a promise', async () => {
  await get('/api/things')
  const send = () => app.fetch(new Request('http://localhost/api/things', { headers: { 'x-api-key': key } }))
  expect(send()).toBeInstanceOf(Response)
})

test('a runtime that cannot be opened answers 503 with id and headers', async () => {
  onTestFinished(() => void vi.restoreAllMocks())
  for (const open of [
    () => {
      throw new Error('no database')
    },
    () => Promise.reject(new Error('no database')),
  ]) {
    vi.spyOn(console, 'error').mockImplementation(() => {})
    const closed = assemble(testConfig(), open, [things])
    const response = await closed.request('/api/things')
    expect(response.status).toBe(503)
    expect(response.headers.get('x-request-id')).toMatch(/^[0-9a-f]{12}$/)
    expect(await response.text()).not.toContain('no database')
  }
})

test('a request that no URL can be made of gets its 400 through the same layers', async () => {
  const response = await app.answerMalformed()
  expect(response.status).toBe(400)
  expect(Object.fromEntries(response.headers)).toMatchObject({ ...securityHeaders, 'x-request-id': expect.any(String) })
})
