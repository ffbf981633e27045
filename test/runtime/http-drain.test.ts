import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { listen } from '../../src/runtime/node/http-server.ts'
import { gate } from '../support/engine.ts'

// Each runtime with its own server, as the product starts it there.
const platform = 'Bun' in globalThis ? 'bun' : 'node'

/** A server whose `/slow` answers when the test says so. */
async function serve() {
  const slow = gate()
  const arrived = gate()
  const server = await listen({
    platform,
    host: '127.0.0.1',
    port: 0,
    async fetch(request) {
      if (request.url.endsWith('/slow')) {
        arrived.open()
        await slow.opened
      }
      return new Response('done', { headers: { 'content-type': 'text/plain' } })
    },
    answerMalformed: () => new Response(null, { status: 400 }),
    answerClientError: (_, socket) => socket.destroy(),
    lingerMs: 200,
  })
  onTestFinished(() => server.cut())
  return { server, slow, arrived: arrived.opened }
}

/** A connection on which the test sends by hand. */
async function open(port: number) {
  const socket: Socket = connect(port, '127.0.0.1')
  onTestFinished(() => void socket.destroy())
  let text = ''
  let heard = () => {}
  socket.setEncoding('utf8').on('data', (part: string) => {
    text += part
    heard()
  })
  const errors: Error[] = []
  socket.on('error', (error) => errors.push(error))
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  await once(socket, 'connect')
  return {
    errors,
    closed,
    /** Sends a request and gives the next whole answer. */
    async ask(path: string): Promise<string> {
      text = ''
      socket.write(`GET ${path} HTTP/1.1\r\nHost: test\r\n\r\n`)
      while (!/\r\n\r\n[^]*done/.test(text)) await new Promise<void>((resolve) => (heard = resolve))
      return text.toLowerCase()
    },
  }
}

test('a request that is under way is answered, and the answer ends its connection', async () => {
  const { server, slow, arrived } = await serve()
  const client = await open(server.port)
  const answer = client.ask('/slow')
  await arrived
  const stopped = server.stopAccepting()
  slow.open()
  expect(await answer).toContain('connection: close')
  await client.closed
  await stopped
  expect(client.errors).toEqual([])
})

test('a resting connection has its next request answered with its end, instead of being cut under it', async () => {
  const { server } = await serve()
  const client = await open(server.port)
  expect(await client.ask('/')).not.toContain('connection: close')
  const stopped = server.stopAccepting()
  expect(await client.ask('/')).toContain('connection: close')
  await stopped
  expect(client.errors).toEqual([])
})

test('while it drains new connections are still taken; then none is', async () => {
  const { server } = await serve()
  server.drain()
  const client = await open(server.port)
  expect(await client.ask('/')).toContain('connection: close')
  await server.stopAccepting()
  await expect(open(server.port)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
})

test('connections that the system has made before it stops are served', async () => {
  const { server } = await serve()
  const connected = Array.from({ length: 20 }, () => open(server.port))
  await Promise.race(connected)
  const stopped = server.stopAccepting()
  const clients = await Promise.all(connected)
  for (const answer of await Promise.all(clients.map((client) => client.ask('/')))) expect(answer).toContain('200 ok')
  await stopped
})

test('connections that rest or were never used do not hold it up', async () => {
  const { server } = await serve()
  const resting = await open(server.port)
  await resting.ask('/')
  const unused = await open(server.port)
  await server.stopAccepting()
  await Promise.all([resting.closed, ...(platform === 'node' ? [unused.closed] : [])])
})

test('what does not end is cut', async () => {
  const { server, arrived } = await serve()
  const client = await open(server.port)
  client.ask('/slow').catch(() => {})
  await arrived
  const stopped = server.stopAccepting()
  server.cut()
  await client.closed
  await stopped
})
