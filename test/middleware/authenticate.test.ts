import { expect, test } from 'vitest'
import { createTestApp } from '../support/app.ts'
import { things, type Problem } from '../support/things.ts'

const { app, key, signIn } = await createTestApp({ groups: [things] })
const send = (headers: Record<string, string | undefined>) =>
  app.request('/api/things', { headers: headers as Record<string, string> })
const wrong = `ak_srv_${'0'.repeat(64)}`

test('a key is taken as Bearer or as X-API-Key', async () => {
  for (const headers of [
    { authorization: `Bearer ${key}` },
    { authorization: `bearer  ${key}` },
    { 'x-api-key': key },
  ]) {
    expect((await send(headers)).status).toBe(200)
  }
})

test.each([
  {},
  { authorization: '' },
  { authorization: 'Bearer' },
  { authorization: 'Bearer ' },
  { authorization: `Basic ${btoa('a:b')}` },
  { authorization: `Bearer ${wrong}` },
  { authorization: 'Bearer x y' },
  { authorization: `Bearer ${'x'.repeat(10_000)}` },
  { 'x-api-key': '' },
  { 'x-api-key': wrong },
  { 'x-api-key': `Bearer ${wrong}` },
])('what is no valid key is 401 with a challenge: %j', async (headers) => {
  const response = await send(headers)
  expect(response.status).toBe(401)
  expect(response.headers.get('www-authenticate')).toBe('Bearer realm="automatos"')
})

test('a bad credential never falls through to a good one', async () => {
  expect((await send({ authorization: `Bearer ${wrong}`, 'x-api-key': key })).status).toBe(401)
  expect((await send({ authorization: 'Basic abc', 'x-api-key': key })).status).toBe(401)
})

test('403 names the permission that is missing', async () => {
  const response = await (await signIn({ scopes: ['agents:write'] })).get('/api/things')
  expect(response.status).toBe(403)
  expect(((await response.json()) as Problem).detail).toContain('agents:read')
})

test('an unknown scope in a row grants nothing', async () => {
  expect((await (await signIn({ scopes: ['*', 'agents:*', 'admin'] })).get('/api/things')).status).toBe(403)
})

test('the permission is asked before the input is judged', async () => {
  const reader = await signIn({ scopes: ['agents:read'] })
  expect((await reader.post('/api/things/x', { nonsense: true })).status).toBe(403)
})
