import { readFileSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import * as zlib from 'node:zlib'
import { pinnedFetch } from '../../src/runtime/node/pinned-fetch.ts'

// Run by pinned-fetch.test.ts in a process of its own, on Node and on Bun: a runtime reads the certificates that it
// trusts once, when it starts. Prints one JSON object of what it saw.

const fixture = (name: string) => readFileSync(new URL(`../fixtures/tls/test-only.${name}.pem`, import.meta.url))
const coded: Record<string, (bytes: Buffer) => Buffer> = {
  gzip: (bytes) => zlib.gzipSync(bytes),
  br: (bytes) => zlib.brotliCompressSync(bytes),
  deflate: (bytes) => zlib.deflateSync(bytes),
  ...('zstdCompressSync' in zlib ? { zstd: (bytes: Buffer) => zlib.zstdCompressSync(bytes) } : {}),
}
const sockets = new Set<unknown>()
const plain = createHttpServer((request, response) => {
  sockets.add(request.socket)
  const [, kind = '', argument = ''] = request.url!.split('/')
  if (kind === 'coded') {
    response.writeHead(200, { 'content-encoding': argument }).end(coded[argument]!(Buffer.from('packed')))
  } else if (kind === 'redirect') response.writeHead(302, { location: '/echo' }).end()
  else if (kind === 'empty') response.writeHead(204).end()
  else if (kind === 'cut') {
    response.writeHead(200, { 'content-length': '100' })
    response.write('abc', () => response.destroy())
  } else if (kind === 'stream') {
    response.write('first')
    request.socket.on('close', () => (streamClosed = true))
  } else if (kind === 'hang') return
  else {
    let body = ''
    request.on('data', (chunk: Buffer) => (body += chunk))
    request.on('end', () => {
      response.setHeader('set-cookie', ['a=1', 'b=2'])
      response.end(`${request.method} ${request.url} ${request.headers.host} ${body}`)
    })
  }
})
let streamClosed = false
const secure = createHttpsServer({ key: fixture('key'), cert: fixture('cert') }, (request, response) => {
  response.end(`secure ${request.headers.host} ${(request.socket as { servername?: string }).servername}`)
})
const portOf = (server: { address(): unknown }) => (server.address() as AddressInfo).port
await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve))
await new Promise<void>((resolve) => secure.listen(0, '0.0.0.0', resolve))

const http = (path: string, init?: RequestInit) =>
  new Request(`http://name.example:${portOf(plain)}${path}`, { redirect: 'manual', ...init })
const toLoopback = (request: Request) => pinnedFetch(request, ['127.0.0.1'])
const failed = (work: Promise<Response>) =>
  work
    .then((response) => response.text())
    .then(
      (text) => `answered ${text}`,
      () => 'failed',
    )
const https = (host: string, addresses: string[]) =>
  pinnedFetch(new Request(`https://${host}:${portOf(secure)}/`), addresses).then(
    (response) => response.text(),
    () => 'failed',
  )

const seen: Record<string, unknown> = {}
const get = await toLoopback(http('/echo/x?y=%20z'))
seen['get'] = [get.status, (await get.text()).replace(String(portOf(plain)), 'PORT'), get.headers.getSetCookie()]
seen['post'] = (await (await toLoopback(http('/echo', { method: 'POST', body: 'data' }))).text()).replace(
  String(portOf(plain)),
  'PORT',
)
seen['redirect'] = (await toLoopback(http('/redirect'))).status
seen['empty'] = (await toLoopback(http('/empty'))).body
for (const name of Object.keys(coded)) {
  const response = await toLoopback(http(`/coded/${name}`))
  seen[name] = [await response.text(), response.headers.get('content-encoding')]
}
seen['cut'] = await failed(toLoopback(http('/cut')))
const controller = new AbortController()
const hanging = failed(toLoopback(http('/hang', { signal: controller.signal })))
controller.abort()
seen['aborted'] = await hanging
seen['secondAddress'] = (
  await pinnedFetch(http('/echo', { method: 'POST', body: 'once' }), ['127.0.0.3', '127.0.0.1'])
).status
seen['nothingListens'] = await failed(pinnedFetch(http('/echo'), ['127.0.0.3']))
const stream = (await toLoopback(http('/stream'))).body!.getReader()
seen['streamed'] = new TextDecoder().decode((await stream.read()).value)
await stream.cancel()
while (!streamClosed) await new Promise((resolve) => setImmediate(resolve))
seen['https'] = (await https('api.pinned.example', ['127.0.0.1'])).replace(String(portOf(secure)), 'PORT')
seen['httpsOtherName'] = await https('other.pinned.example', ['127.0.0.1'])
seen['httpsLiteral'] = (await https('127.0.0.2', ['127.0.0.2'])).startsWith('secure 127.0.0.2')
seen['httpsOtherLiteral'] = await https('127.0.0.1', ['127.0.0.1'])
console.log(JSON.stringify(seen))
process.exit(0)
