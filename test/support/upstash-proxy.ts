import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { createClient } from 'redis'

export interface UpstashProxy {
  url: string
  token: string
  close(): Promise<void>
}

/**
 * Upstash's REST API in front of a real Redis: a command, a pipeline, a transaction; answers in base64 when asked. Rejects
 * where there is no Redis.
 */
export async function openUpstashProxy(redisUrl: string): Promise<UpstashProxy> {
  const redis = createClient({ url: redisUrl, socket: { connectTimeout: 2_000, reconnectStrategy: false } })
  redis.on('error', () => {})
  await redis.connect()
  const token = crypto.randomUUID()

  async function run(command: unknown[], base64: boolean): Promise<Outcome> {
    try {
      const reply: unknown = await redis.sendCommand(command.map(String))
      return { result: base64 ? encode(reply) : (reply ?? null) }
    } catch (error) {
      return { error: (error as Error).message }
    }
  }
  async function answer(request: IncomingMessage): Promise<[number, unknown]> {
    if (request.headers.authorization !== `Bearer ${token}`) return [401, { error: 'Unauthorized' }]
    const base64 = request.headers['upstash-encoding'] === 'base64'
    const body = JSON.parse(await text(request)) as unknown[]
    if (request.url === '/') {
      const outcome = await run(body, base64)
      return ['error' in outcome ? 400 : 200, outcome]
    }
    if (request.url === '/pipeline') {
      const outcomes = []
      for (const command of body as unknown[][]) outcomes.push(await run(command, base64))
      return [200, outcomes]
    }
    if (request.url === '/multi-exec') {
      const transaction = redis.multi()
      for (const command of body as unknown[][]) transaction.addCommand(command.map(String))
      const replies: unknown[] = await transaction.exec()
      return [200, replies.map((reply) => ({ result: base64 ? encode(reply) : reply }))]
    }
    return [404, { error: `No such path: ${request.url}` }]
  }

  const server = createServer((request, response) => {
    answer(request)
      .catch((error: unknown): [number, unknown] => [400, { error: String(error) }])
      .then(([status, body]) => {
        response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
      })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    token,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
      redis.destroy()
    },
  }
}

type Outcome = { result: unknown } | { error: string }

function encode(reply: unknown): unknown {
  if (typeof reply === 'string') return reply === 'OK' ? reply : Buffer.from(reply).toString('base64')
  return Array.isArray(reply) ? reply.map(encode) : (reply ?? null)
}
