import { connect } from 'node:net'
import { afterAll, expect, test } from 'vitest'
import { answerClientError } from '../../src/middleware/client-error.ts'
import { listen } from '../../src/runtime/node/http-server.ts'
import { createTestApp } from '../support/app.ts'
import { things, type Problem } from '../support/things.ts'

// Each runtime with its own server, as the product starts it there.
const platform = 'Bun' in globalThis ? 'bun' : 'node'
const { app, key } = await createTestApp({ groups: [things] })
const server = await listen({ platform, host: '127.0.0.1', port: 0, ...app, answerClientError })
afterAll(() => {
  server.cut()
})

interface Answer {
  status: number
  headers: Map<string, string>
  body: string
}

/** What the server sends back for these bytes, until it closes. */
function send(bytes: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const socket = connect(server.port, '127.0.0.1')
    let text = ''
    socket.setEncoding('utf8')
    socket.on('data', (chunk) => (text += chunk))
    socket.on('error', reject)
    socket.on('close', () => {
      const [head = '', ...rest] = text.split('\r\n\r\n')
      const [line = '', ...fields] = head.split('\r\n')
      const headers = new Map(fields.map((field) => [field.split(': ')[0]!.toLowerCase(), field.split(': ')[1]!]))
      resolve({ status: Number(line.split(' ')[1]), headers, body: rest.join('\r\n\r\n') })
    })
    socket.write(bytes)
  })
}
const get = (target: string, more = '', host = 'Host: localhost') =>
  `GET ${target} HTTP/1.1\r\n${host}\r\nConnection: close\r\n${more}\r\n`

test.each([
  ['headers of 100 KB', get('/api/things', `X-Large: ${'x'.repeat(100_000)}\r\n`), 431],
  ['thousands of headers', get('/api/things', 'X-A: b\r\n'.repeat(5000)), 431],
  ['a header without a name', get('/api/things', ': x\r\n'), 400],
  ['a bare line feed in a header', get('/api/things', 'X-A: a\nb\r\n'), 400],
  ['a NUL in a header', get('/api/things', 'X-A: a\0b\r\n'), 400],
  [
    'two lengths',
    'POST /api/things/a/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab',
    400,
  ],
  [
    'a length and chunks',
    'POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    400,
  ],
  ['a negative length', 'POST /api/things/a/echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n', 400],
  ['no HTTP at all', 'hello\r\n\r\n', 400],
])('%s is refused, by Node with a problem document and an id', async (_, bytes, status) => {
  const answer = await send(bytes)
  expect(answer.status).toBe(status)
  // Bun refuses by itself, without a body.
  if (platform === 'bun') expect(answer.body).toBe('')
  else expectProblem(answer, status)
})

// Bun reads a target as the path that it could be, and this one's sender is a stranger.
test.each([
  ['a target that is no URL', get('http://[bad/'), { node: 400, bun: 404 }],
  ['a Host that is no host', get('/api/things', '', 'Host: a b'), { node: 400, bun: 400 }],
  ['a Host of another kind', get('/api/things', '', 'Host: <script>'), { node: 400, bun: 400 }],
  ['a path that is no text', get('/api/things/%ff'), { node: 400, bun: 400 }],
  ['a backslash in the path', get('/api\\things'), { node: 400, bun: 401 }],
])('%s gets a problem document with an id', async (_, bytes, status) => {
  expectProblem(await send(bytes), status[platform])
})

function expectProblem(answer: Answer, status: number): void {
  expect(answer.status).toBe(status)
  expect(answer.headers.get('content-type')).toBe('application/problem+json')
  expect(answer.headers.get('x-frame-options')).toBe('DENY')
  const problem = JSON.parse(answer.body) as Problem
  expect(problem).toMatchObject({ status, detail: expect.any(String), request_id: answer.headers.get('x-request-id') })
}

test('an encoding of the transfer that nobody knows is refused', async () => {
  const answer = await send('POST /api/things/a/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: magic\r\n\r\n{}')
  expect(answer.status).toBe(400)
})

test('a chunked body is read and counted', async () => {
  const head = `POST /api/things/a/echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n`
  expect((await send(`${head}7\r\n{"a":1}\r\n0\r\n\r\n`)).body).toContain('{"a":1}')
  const megabyte = ' '.repeat(1024 * 1024)
  expect((await send(head + `100000\r\n${megabyte}\r\n`.repeat(11) + '0\r\n\r\n')).status).toBe(413)
})

test('a stream arrives piece by piece', async () => {
  const response = await fetch(`http://127.0.0.1:${server.port}/api/things/stream`)
  expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
  expect(await response.text()).toBe('data: 1\n\ndata: 2\n\n')
})

test('a broken stream breaks the connection instead of looking whole', async () => {
  const read = async () => (await fetch(`http://127.0.0.1:${server.port}/api/things/broken-stream`)).text()
  await expect(read()).rejects.toThrow(TypeError)
})

test('HEAD, a key and an address go through a real server', async () => {
  const response = await fetch(`http://127.0.0.1:${server.port}/api/things`, {
    method: 'HEAD',
    headers: { 'x-api-key': key },
  })
  expect(response.status).toBe(200)
  expect(await response.text()).toBe('')
})
