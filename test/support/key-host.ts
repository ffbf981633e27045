import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What may come instead of the keys. */
const faults = {
  'an error': (_, response) => void response.writeHead(503).end(),
  garbage: (_, response) => void response.end('<html>'),
  nothing: (_, response) => void response.end(),
  null: (_, response) => void response.end('null'),
  'no keys': (_, response) => void response.end('{"keys":[]}'),
  'keys that are none': (_, response) =>
    void response.end('{"keys":[null,1,{"kty":"oct","k":"AA"},{"kty":"EC","crv":"P-256","x":"AA","y":"AA","d":"AA"}]}'),
  'more than anybody needs': (_, response) => void response.end(`{"keys":[],"pad":"${'x'.repeat(300_000)}"}`),
  'half an answer': (request, response) => {
    response.writeHead(200, { 'content-length': 9 })
    response.write('{', () => void request.socket.destroy())
  },
  'a way elsewhere': (_, response) => void response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(),
  'a broken line': (request) => void request.socket.destroy(),
  // Until another answer is chosen.
  'nothing for now': (_, response) => void held.add(response),
} satisfies Record<string, (request: IncomingMessage, response: ServerResponse) => void>
export type Fault = keyof typeof faults

interface Place {
  keys: string
  fault: Fault | null
  reads: number
}
const held = new Set<ServerResponse>()

/** Publishes key sets under paths of their own: `PUT /{place}` says what and how, `GET` reads it, `GET ?reads` counts. */
export async function startKeyHost(): Promise<{ url: string; server: Server }> {
  const places = new Map<string, Place>()
  const server = createServer(async (request, response) => {
    const { pathname, search } = new URL(request.url ?? '/', 'http://host')
    if (request.method === 'PUT') {
      let text = ''
      for await (const chunk of request) text += String(chunk)
      const { keys, fault } = JSON.parse(text) as { keys: unknown; fault: Fault | null }
      places.set(pathname, { keys: JSON.stringify({ keys }), fault, reads: places.get(pathname)?.reads ?? 0 })
      for (const waiting of held) waiting.end('{}')
      held.clear()
      return void response.end()
    }
    const place = places.get(pathname)
    if (!place) return void response.writeHead(404).end()
    if (search === '?reads') return void response.end(String(place.reads))
    place.reads++
    if (place.fault) return faults[place.fault](request, response)
    response.setHeader('content-type', 'application/json')
    response.end(place.keys)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server }
}

let started: ReturnType<typeof startKeyHost> | undefined

/** One for all tests of a worker thread; it ends with the thread. */
export async function keyHost(): Promise<string> {
  const { url, server } = await (started ??= startKeyHost())
  server.unref()
  return url
}
