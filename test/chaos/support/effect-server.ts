import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'

export interface Effect {
  count: number
  bodies: Set<string>
}

/**
 * Records every request by its Idempotency-Key and answers after a while, as a real API would; with a promise, once that is
 * kept. `nth` counts the requests of one key.
 */
export async function startEffectServer(delay: (key: string, nth: number) => number | Promise<void>) {
  const effects = new Map<string, Effect>()
  let withoutKey = 0
  const server = createServer(async (request, response) => {
    if (request.url === '/arrived') {
      response.writeHead(204, { connection: 'close' }).end()
      return
    }
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const key = request.headers['idempotency-key']
    let nth = 1
    if (typeof key !== 'string') withoutKey++
    else {
      const effect = effects.get(key) ?? { count: 0, bodies: new Set() }
      effect.count++
      effect.bodies.add(createHash('sha256').update(Buffer.concat(chunks)).digest('hex'))
      effects.set(key, effect)
      nth = effect.count
    }
    const wait = delay(String(key), nth)
    await (typeof wait === 'number' ? new Promise((resolve) => setTimeout(resolve, wait)) : wait)
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ key }))
  })
  server.on('clientError', (_error, socket) => socket.destroy())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  return {
    url: `http://127.0.0.1:${port}/effect`,
    effects,
    withoutKey: () => withoutKey,
    /**
     * Resolves when whatever was sent before is recorded, by somebody who is gone by now, too: connections are taken in the
     * order of their making, so a call of our own, and one more for what had come with it, stands behind all of it.
     */
    async arrived() {
      for (let call = 0; call < 2; call++) await fetch(`http://127.0.0.1:${port}/arrived`)
    },
    close() {
      server.closeAllConnections()
      server.close()
    },
  }
}
