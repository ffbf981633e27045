import { expect, test } from 'vitest'
import { createTestApp } from '../support/app.ts'
import { streamOf, things, type Problem } from '../support/things.ts'

const { app } = await createTestApp({ groups: [things] })

const send = (
  body: BodyInit,
  headers: Record<string, string> = { 'content-type': 'application/json' },
  path = '/api/things/a/echo',
) => app.request(path, { method: 'POST', body, headers })
const kindOf = async (response: Response) => `${response.status} ${((await response.json()) as Problem).type}`

test.each([
  ['cut off', '{"a":'],
  ['trailing text', '{} x'],
  ['no JSON', 'hello'],
  ['a comment', '{/* */}'],
  ['10,000 levels of arrays', '{"a":' + '['.repeat(10_000) + ']'.repeat(10_000) + '}'],
  ['10,000 levels of objects', '{"a":'.repeat(10_000) + '1' + '}'.repeat(10_000)],
  ['a million opening brackets', '['.repeat(1_000_000)],
  ['depth hidden behind quotes', '{"\\"":' + '['.repeat(501) + ']'.repeat(501) + '}'],
])('malformed JSON is 400: %s', async (_, body) => {
  expect(await kindOf(await send(body))).toBe('400 /problems/malformed')
})

test('500 levels are read, and brackets in strings are no levels', async () => {
  const deep = '{"a":' + '['.repeat(499) + ']'.repeat(499) + '}'
  expect((await send(deep)).status).toBe(200)
  expect((await send(JSON.stringify({ a: '['.repeat(5000) + '\\"' }))).status).toBe(200)
})

test('an error never quotes the body', async () => {
  expect(await (await send('{"password": hunter2}')).text()).not.toContain('hunter2')
})

test('invalid UTF-8 is 400', async () => {
  const bytes = new Uint8Array([0x7b, 0x22, 0x61, 0x22, 0x3a, 0x22, 0xff, 0x22, 0x7d])
  expect(await kindOf(await send(bytes))).toBe('400 /problems/malformed')
})

test.each([
  'text/plain',
  'application/xml',
  'application/jsonp',
  'application/x-www-form-urlencoded',
  'multipart/form-data; boundary=x',
  'application/json; charset=iso-8859-1',
  'nonsense',
])('a media type other than JSON is 415: %s', async (type) => {
  expect(await kindOf(await send('{}', { 'content-type': type }))).toBe('415 /problems/unsupported-media-type')
})

test('a body without a media type is 415', async () => {
  expect(await kindOf(await send(new TextEncoder().encode('{}'), {}))).toBe('415 /problems/unsupported-media-type')
})

test.each(['application/json', 'APPLICATION/JSON; charset=UTF-8', 'application/merge-patch+json'])(
  'JSON by any of its names is read: %s',
  async (type) => {
    expect((await send('{"a":1}', { 'content-type': type })).status).toBe(200)
  },
)

test('no body is {} where the body is optional, else a fault', async () => {
  const optional = await app.request('/api/things/a/echo', { method: 'POST' })
  expect(await optional.json()).toEqual({})
  const required = await app.request('/api/things/a/small', { method: 'POST' })
  expect(await kindOf(required)).toBe('422 /problems/invalid')
})

test.each([
  '{"__proto__":{"admin":true},"a":1}',
  '{"\\u005f_proto__":{"admin":true},"a":1}',
  '{"__pr\\u006fto__":{"admin":true},"a":1}',
  '{"a":1,"b":{"__proto__":{"admin":true}}}',
])('a __proto__ key changes no prototype: %s', async (body) => {
  const response = await send(body)
  expect(response.status).toBe(200)
  expect(await response.text()).not.toContain('admin')
  expect(({} as Record<string, unknown>)['admin']).toBeUndefined()
  expect((await send(body, undefined, '/api/things/a/small')).status).toBe(200)
})

test.each(['/api/things/%ff', '/api/things/%', '/api/%c0%af/x', '/api/things/a%zz/echo'])(
  'a path that is no percent-encoded text is 400: %s',
  async (path) => {
    for (const method of ['GET', 'POST']) {
      const response = await app.request(path, { method })
      expect(response.status, method).toBe(400)
      expect(response.headers.get('x-request-id')).toBeTruthy()
    }
  },
)

test('a query that is no text breaks nothing', async () => {
  for (const query of [
    '?limit=%ff',
    '?%',
    '?limit=1&limit=2',
    '?__proto__=1',
    '?limit[]=1',
    '?' + 'a'.repeat(20_000),
  ]) {
    expect((await app.request(`/api/things/open${query}`)).status, query.slice(0, 20)).toBe(200)
  }
})

const tenMegabytes = 10 * 1024 * 1024
const chunk = ' '.repeat(1024 * 1024)

test('a body is counted while it streams: without a length it ends at the limit', async () => {
  let sent = 0
  const endless = new ReadableStream<Uint8Array>({
    pull(controller) {
      sent += chunk.length
      controller.enqueue(new TextEncoder().encode(chunk))
    },
  })
  const init = { method: 'POST', body: endless, duplex: 'half', headers: { 'content-type': 'application/json' } }
  const response = await app.request('/api/things/a/echo', init as RequestInit)
  expect(await kindOf(response)).toBe('413 /problems/too-large')
  expect(sent).toBeLessThan(tenMegabytes + 4 * chunk.length)
})

test('a false length does not help', async () => {
  const body = new TextEncoder().encode(chunk.repeat(10) + '  ')
  const response = await send(body, { 'content-type': 'application/json', 'content-length': '2' })
  expect(await kindOf(response)).toBe('413 /problems/too-large')
})

test('a handler that reads the body by itself is held to the same limit', async () => {
  const raw = (body: ReadableStream<Uint8Array>) =>
    app.request('/api/things/raw', { method: 'POST', body, duplex: 'half' } as RequestInit)
  expect(await (await raw(streamOf([chunk]))).json()).toEqual({ bytes: chunk.length })
  expect(await kindOf(await raw(streamOf(Array<string>(11).fill(chunk))))).toBe('413 /problems/too-large')
})

test('an operation may allow more', async () => {
  const body = JSON.stringify({ text: chunk.repeat(11) })
  expect((await send(body, undefined, '/api/things/a/small')).status).toBe(200)
  expect((await send(body)).status).toBe(413)
})
