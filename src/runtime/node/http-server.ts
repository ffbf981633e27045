import type { AddressInfo, Socket } from 'node:net'
import { createServer } from 'node:http'
import { getRequestListener, RequestError } from '@hono/node-server'
import type { Platform } from '../../context.ts'
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
}

export interface HttpServer {
  /** What was asked for, or what the system chose for port 0. */
  port: number
  /** Takes no new connection; resolves when every answer under way has ended. */
  stopAccepting(): Promise<void>
  /** Cuts what is left: event streams have no end of their own. */
  cut(): void
}

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
}: ListenOptions): Promise<HttpServer> {
  const handle = getRequestListener(fetch, {
    // The app answers its own errors; what comes here besides is a fault of this adapter.
    errorHandler: (error) =>
      error instanceof RequestError ? answerMalformed(undefined) : new Response(null, { status: 500 }),
  })
  // Longer than the idle time of usual proxies (60 s), so that it is never us who close under their next request.
  const serverOptions = { keepAliveTimeout: 65_000, headersTimeout: 60_000 }
  const server = createServer(serverOptions, (incoming, outgoing) => {
    void handle(incoming, outgoing)
  })
  server.on('clientError', answerClientError)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve()
    })
  })
  return {
    port: (server.address() as AddressInfo).port,
    stopAccepting: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeIdleConnections()
      }),
    cut: () => server.closeAllConnections(),
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

function listenOnBun({ host, port, fetch, answerMalformed }: ListenOptions): HttpServer {
  const { Bun } = globalThis as unknown as { Bun: BunGlobal }
  const server = Bun.serve({
    hostname: host,
    port,
    // Bun cuts a stream that is quiet for this long, by default after 10 s; ours send a comment every 15 s.
    idleTimeout: 120,
    // The body limit is the pipeline's, whose refusal carries headers and a problem document.
    maxRequestBodySize: Number.MAX_SAFE_INTEGER,
    development: false,
    // Where the Host is none, Bun gives the bare target as the URL, in which another path would be read.
    fetch: (request, self) => (URL.canParse(request.url) ? fetch(request, self) : answerMalformed(self)),
  })
  return {
    port: server.port,
    stopAccepting: () => server.stop(false),
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
