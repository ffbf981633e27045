import { expect, test } from 'vitest'
import { domainAllows } from '../../src/lib/widget-domains.ts'
import { createTestApp } from '../support/app.ts'
import { things, widgets, type Problem } from '../support/things.ts'

const { app, signIn, database, get } = await createTestApp({ groups: [things, widgets] })
const shop = 'https://shop.example'
const site = await signIn({ kind: 'widget', allowedDomains: ['shop.example', 'localhost:5173'] })

test('a preflight is answered for any origin, without a key, on known and unknown paths', async () => {
  for (const path of ['/api/widgets/config', '/api/widgets/chat', '/api/widgets/blog/posts/a']) {
    const response = await app.request(path, {
      method: 'OPTIONS',
      headers: { origin: 'https://anywhere.example', 'access-control-request-method': 'POST' },
    })
    expect(response.status).toBe(204)
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'access-control-allow-origin': 'https://anywhere.example',
      'access-control-allow-methods': 'GET, POST, OPTIONS',
      'access-control-allow-headers': 'Authorization, Content-Type',
      vary: 'Origin',
    })
    expect(response.headers.get('access-control-allow-credentials')).toBeNull()
  }
})

test('every real answer can be read across origins, errors included', async () => {
  const stranger = { origin: 'https://stranger.example' }
  const answers: [number, Response][] = [
    [200, await site.get('/api/widgets/config', { origin: shop })],
    [401, await app.request('/api/widgets/config', { headers: { origin: shop } })],
    [403, await site.get('/api/widgets/config', stranger)],
    [404, await site.get('/api/widgets/nothing', { origin: shop })],
    [405, await site.post('/api/widgets/config', {}, { origin: shop })],
    [500, await site.get('/api/widgets/broken', { origin: shop })],
  ]
  for (const [status, response] of answers) {
    expect(response.status).toBe(status)
    expect(response.headers.get('access-control-allow-origin')).toBe(status === 403 ? stranger.origin : shop)
    expect(response.headers.get('access-control-expose-headers')).toMatch(/Retry-After.*X-RateLimit-Limit/)
    expect(response.headers.get('access-control-allow-credentials')).toBeNull()
    expect(response.headers.get('vary')).toBe('Origin')
    expect(response.headers.get('x-ratelimit-limit')).toBe('300')
  }
})

test('the general CORS list neither adds nor takes anything here', async () => {
  const response = await site.get('/api/widgets/config', { origin: 'https://console.example' })
  expect(response.status).toBe(403)
  expect(response.headers.get('access-control-allow-credentials')).toBeNull()
})

test('429 tells the page when to come back, in whole seconds', async () => {
  const busy = await signIn({ kind: 'widget', allowedDomains: ['shop.example'], rateLimit: 1 })
  expect((await busy.get('/api/widgets/config', { origin: shop })).status).toBe(200)
  const response = await busy.get('/api/widgets/config', { origin: shop })
  expect(response.status).toBe(429)
  expect(response.headers.get('retry-after')).toMatch(/^[1-9]\d*$/)
  expect(response.headers.get('x-ratelimit-remaining')).toBe('0')
  expect(response.headers.get('access-control-allow-origin')).toBe(shop)
  expect(typeof ((await response.json()) as Problem).detail).toBe('string')
})

test('one visitor cannot spend what another has, whatever key is claimed', async () => {
  const limited = await createTestApp({ groups: [widgets], database })
  const visit = (address: string, token: string) =>
    limited.app.request(
      '/api/widgets/config',
      { headers: { authorization: `Bearer ${token}`, 'x-forwarded-for': address } },
      { incoming: { socket: { remoteAddress: '127.0.0.1' } } },
    )
  const statuses = new Set<number>()
  for (let i = 0; i < 301; i++) statuses.add((await visit('192.0.2.1', `made-up-${i}`)).status)
  expect([...statuses]).toEqual([401, 429])
  expect((await visit('192.0.2.2', 'made-up')).status).toBe(401)
})

test('a widget key opens nothing outside, a server key is known inside', async () => {
  expect((await site.get('/api/things')).status).toBe(403)
  expect((await get('/api/widgets/config')).status).toBe(200)
})

test.each([
  ['shop.example', 'https://shop.example', true],
  ['shop.example', 'http://shop.example:8080', true],
  ['shop.example', 'https://www.shop.example', false],
  ['localhost:5173', 'http://localhost:5173', true],
  ['localhost:5173', 'http://localhost:5174', false],
  ['shop.example:443', 'https://shop.example', true],
  ['*.shop.example', 'https://www.shop.example', true],
  ['*.shop.example', 'https://shop.example', false],
  ['*.shop.example', 'https://evilshop.example', false],
  ['SHOP.example', 'https://shop.example', true],
  ['shop.example', 'null', false],
  ['shop.example', 'file://shop.example', false],
  ['shop.example', null, false],
])('a key for %s at %s: %s', (entry, origin, allowed) => {
  expect(domainAllows([entry], origin)).toBe(allowed)
})

test('an empty list lets nobody in', () => {
  expect(domainAllows([], 'https://shop.example')).toBe(false)
})
