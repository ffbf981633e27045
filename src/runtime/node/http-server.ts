import { Server as NetServer, type AddressInfo, type Socket } from 'node:net'
import { createServer, ServerResponse, type IncomingMessage } from 'node:http'
import { getRequestListener, RequestError } from '@hono/node-server'
import type { Platform } from '../../context.ts'
import { readIncoming } from './read-incoming.ts'
import { StartupError } from './startup-error.ts'

export interface ListenOptions {
  platform: Platform
  host: string
  port: number
  fetch(request: Request, env?: unknown): Response | Promise<Response>
  /** Answers a request whose target or Host no URL can be made of. */
  answerMalformed(env: unknown): Response | Promise<Response>
  /** Answers what is no HTTP request, on Node; Bun answers by itself. */
  answerClientError(error: Error, socket: Socket): void
  /** For how long connections must rest before a server that drains closes them. */
  lingerMs?: number
}

export interface HttpServer {
  /** What was asked for, or what the system chose for port 0. */
  port: number
  /** From here on every answer is the last one of its connection, and says so. New connections are still taken. */
  drain(): void
  /** Takes no new connection; resolves when every connection has ended, each after the answers that it is owed. */
  stopAccepting(): Promise<void>
  /** Cuts what is left. */
  cut(): void
}

/**
 * Connections that rest are closed only after this long without any traffic. Closed at once, they would meet requests that
 * their clients have just sent; a client with work to do uses them within this time, and its answer tells it to go elsewhere.
 */
const defaultLingerMs = 2_000
const sweepEveryMs = 50
/** More than the system lets wait, so that a flood of connections does not keep the listening up for ever. */
const mostTurns = 1_000

export async function listen(options: ListenOptions): Promise<HttpServer> {
  try {
    return options.platform === 'bun' ? listenOnBun(options) : await listenOnNode(options)
  } catch (error) {
    throw explain(error, options)
  }
}

async function listenOnNode({
  host,
  port,
  fetch,
  answerMalformed,
  answerClientError,
  lingerMs = defaultLingerMs,
}: ListenOptions): Promise<HttpServer> {
  const handle = getRequestListener(
    (request, { incoming }) => fetch(request, new NodeEnv(incoming as IncomingMessage)),
    {
      // The app answers its own errors; what comes here besides is a fault of this adapter.
      errorHandler: (error) =>
        error instanceof RequestError ? answerMalformed(undefined) : new Response(null, { status: 500 }),
    },
  )
  // Longer than the idle time of usual proxies (60 s), so that it is never us who close under their next request.
  const limits = { keepAliveTimeout: 65_000, headersTimeout: 60_000 }
  class DrainableResponse extends ServerResponse {}
  const drain = () => {
    // Takes its place only now, so that it costs nothing before, and reaches answers whose requests were under way by then.
    const lastHead = function (this: ServerResponse, ...head: [number]): ServerResponse {
      this.shouldKeepAlive = false
      return ServerResponse.prototype.writeHead.apply(this, head)
    }
    // Safe: what comes in by either of its signatures goes on as it came.
    DrainableResponse.prototype.writeHead = lastHead as DrainableResponse['writeHead']
  }
  const server = createServer({ ...limits, ServerResponse: DrainableResponse }, (incoming, outgoing) => {
    void handle(incoming, outgoing)
  })
  server.on('clientError', answerClientError)
  const connections = new Set<Socket>()
  let accepted = 0
  server.on('connection', (socket) => {
    accepted++
    connections.add(socket)
    socket.once('close', () => connections.delete(socket))
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve()
    })
  })
  return {
    port: (server.address() as AddressInfo).port,
    drain,
    async stopAccepting() {
      drain()
      await emptyBacklog(() => accepted)
      const restFor = restWatch(connections)
      const sweeping = setInterval(() => {
        if (!restFor(lingerMs)) return
        server.closeIdleConnections()
        for (const socket of connections) if (socket.bytesRead === 0) socket.destroy()
      }, sweepEveryMs)
      // The HTTP server's own close() would end resting connections at once.
      await new Promise<unknown>((resolve) => NetServer.prototype.close.call(server, resolve))
      clearInterval(sweeping)
    },
    cut: () => server.closeAllConnections(),
  }
}

/**
 * Waits until what the system has connected meanwhile is taken in: it would be reset together with the listening. A turn of the
 * event loop takes in one connection at most, so two turns without any mean that none is left.
 */
async function emptyBacklog(accepted: () => number): Promise<void> {
  for (let turns = 0, quiet = 0; quiet < 2 && turns < mostTurns; turns++) {
    const before = accepted()
    await new Promise((resolve) => setImmediate(resolve))
    quiet = accepted() === before ? quiet + 1 : 0
  }
}

/** Tells, asked again and again, whether nothing has gone over any of the connections for so long. */
function restWatch(connections: ReadonlySet<Socket>): (ms: number) => boolean {
  let seen = new Map<Socket, number>()
  let sinceMs = performance.now()
  return (ms) => {
    const traffic = new Map([...connections].map((socket) => [socket, socket.bytesRead + socket.bytesWritten]))
    const nowMs = performance.now()
    if ([...traffic].some(([socket, bytes]) => seen.get(socket) !== bytes)) sinceMs = nowMs
    seen = traffic
    return nowMs - sinceMs >= ms
  }
}

/** What the app gets beside a request: the address of its peer, and its body without a copy. */
class NodeEnv {
  readonly incoming: IncomingMessage

  constructor(incoming: IncomingMessage) {
    this.incoming = incoming
  }

  readBody(): Promise<Uint8Array> | null {
    const { incoming } = this
    return incoming.destroyed || incoming.readableDidRead ? null : readIncoming(incoming)
  }
}

/** The part of Bun that is used here; its types would replace Node's in the whole project. */
interface BunServer {
  port: number
  stop(cutConnections: boolean): Promise<void>
}
interface BunGlobal {
  serve(options: {
    hostname: string
    port: number
    idleTimeout: number
    maxRequestBodySize: number
    development: boolean
    fetch(request: Request, server: BunServer): Response | Promise<Response>
  }): BunServer
}

function listenOnBun({ host, port, fetch, answerMalformed, lingerMs = defaultLingerMs }: ListenOptions): HttpServer {
  const { Bun } = globalThis as unknown as { Bun: BunGlobal }
  let draining = false
  const lastOne = (answer: Response): Response => {
    if (draining) answer.headers.set('connection', 'close')
    return answer
  }
  const server = Bun.serve({
    hostname: host,
    port,
    // Bun cuts a stream that is quiet for this long, by default after 10 s; ours send a comment every 15 s.
    idleTimeout: 120,
    // The body limit is the pipeline's, whose refusal carries headers and a problem document.
    maxRequestBodySize: Number.MAX_SAFE_INTEGER,
    development: false,
    // Where the Host is none, Bun gives the bare target as the URL, in which another path would be read.
    fetch(request, self) {
      const answer = URL.canParse(request.url) ? fetch(request, self) : answerMalformed(self)
      return answer instanceof Promise ? answer.then(lastOne) : lastOne(answer)
    },
  })
  return {
    port: server.port,
    drain() {
      draining = true
    },
    async stopAccepting() {
      draining = true
      // Bun ends resting connections together with the listening, so it goes on listening for that long.
      await new Promise((resolve) => setTimeout(resolve, lingerMs))
      await server.stop(false)
    },
    cut: () => void server.stop(true),
  }
}

function explain(error: unknown, { host, port }: ListenOptions): unknown {
  const reasons: Record<string, string> = {
    EADDRINUSE: `another program listens there. Stop it, or set PORT to a free one (0 takes any).`,
    EACCES: `this user may not. Set PORT to a number above 1023.`,
    EADDRNOTAVAIL: `HOST is no address of this machine. Set HOST to 127.0.0.1 or 0.0.0.0.`,
    ENOTFOUND: `the name of HOST is unknown. Set HOST to 127.0.0.1 or 0.0.0.0.`,
  }
  const reason = reasons[(error as NodeJS.ErrnoException).code ?? '']
  return reason ? new StartupError(`Cannot listen on ${host}:${port}: ${reason}`, error) : error
}
