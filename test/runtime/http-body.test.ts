import { once } from 'node:events'
import { connect } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { listen } from '../../src/runtime/node/http-server.ts'

const platform = 'Bun' in globalThis ? 'bun' : 'node'

interface Env {
  readBody?(): Promise<Uint8Array> | null
}

/** Sends a request in parts and gives what the app read of its body, or the fault that it met. */
async function send(parts: string[], end: 'stays' | 'leaves'): Promise<string> {
  let resolve: (text: string) => void = () => {}
  const read = new Promise<string>((settled) => (resolve = settled))
  const server = await listen({
    platform,
    host: '127.0.0.1',
    port: 0,
    fetch(request, env) {
      const bytes = (env as Env).readBody?.() ?? request.arrayBuffer().then((buffer) => new Uint8Array(buffer))
      bytes.then((body) => resolve(new TextDecoder().decode(body))).catch((error: unknown) => resolve(String(error)))
      return bytes.then(() => new Response('done'))
    },
    answerMalformed: () => new Response(null, { status: 400 }),
    answerClientError: (_, socket) => socket.destroy(),
    lingerMs: 0,
  })
  onTestFinished(() => server.cut())
  const socket = connect(server.port, '127.0.0.1').setNoDelay()
  onTestFinished(() => void socket.destroy())
  socket.on('error', () => {})
  await once(socket, 'connect')
  for (const part of parts) await new Promise<void>((sent) => socket.write(part, () => sent()))
  if (end === 'leaves') socket.destroySoon()
  return read
}

const head = 'POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n'

test.each([
  ['with the head', [`${head}0123456789`]],
  ['behind it', [head, '0123456789']],
  ['in pieces', [head, '0123', '456', '789']],
])('a body that comes %s is read whole', async (_, parts) => {
  expect(await send(parts, 'stays')).toBe('0123456789')
})

test('a client may send all it has and leave', async () => {
  expect(await send([head, '0123456789'], 'leaves')).toBe('0123456789')
})

test.runIf(platform === 'node')('a body that breaks off is a fault of the request', async () => {
  expect(await send([head, '01234'], 'leaves')).toMatch('The request ended before its body was complete.')
})
