import { Agent, request, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { pause } from './cluster.ts'

export interface Answer {
  status: number
  headers: IncomingHttpHeaders
  body: string
}
interface Failure extends NodeJS.ErrnoException {
  /** The connection had served another request before. */
  reused: boolean
}

/**
 * Requests over connections that are kept, as clients under load send them. It tries the next address only where the
 * request was never accepted; whatever else happens to one is thrown.
 */
export class KeepAliveClient {
  readonly #agent = new Agent({ keepAlive: true, maxFreeSockets: 64 })
  readonly #addresses: () => string[]
  readonly #key: string
  #next = 0
  refused = 0
  unaccepted = 0
  /** Requests that went over a connection that had served another. */
  reused = 0

  constructor(addresses: () => string[], key: string) {
    this.#addresses = addresses
    this.#key = key
  }

  post(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    return this.request('POST', path, body, headers)
  }

  request(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    return this.#somewhere(async (base) => {
      const text = body === undefined ? undefined : JSON.stringify(body)
      const response = await this.#send(base, method, path, headers, text)
      return { status: response.statusCode!, headers: response.headers, body: await textOf(response) }
    })
  }

  /** The answer with its body still to come. */
  open(path: string, headers: Record<string, string> = {}): Promise<IncomingMessage> {
    return this.#somewhere((base) => this.#send(base, 'GET', path, headers))
  }

  close(): void {
    this.#agent.destroy()
  }

  async #somewhere<T>(attempt: (base: string) => Promise<T>): Promise<T> {
    for (;;) {
      const addresses = this.#addresses()
      try {
        return await attempt(addresses[this.#next++ % addresses.length]!)
      } catch (error) {
        const { code, reused } = error as Failure
        if (code === 'ECONNREFUSED') this.refused++
        // Connected by the system and reset with the listening socket before the process took it in. A request that a
        // process has read ends like this only if it is cut, which is ruled out by the time that stopping took.
        else if (code === 'ECONNRESET' && !reused) this.unaccepted++
        else throw error
        await pause(5)
      }
    }
  }

  #send(
    base: string,
    method: string,
    path: string,
    headers: Record<string, string>,
    body?: string,
  ): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const sent = request(`${base}${path}`, {
        method,
        agent: this.#agent,
        headers: {
          'x-api-key': this.#key,
          ...(body === undefined
            ? {}
            : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
          ...headers,
        },
      })
      const begunMs = performance.now()
      sent.on('response', resolve)
      sent.on('error', (error) => {
        const spent = Math.round(performance.now() - begunMs)
        const connection = sent.reusedSocket ? 'a kept connection' : 'a new connection'
        error.message += ` (${method} ${path} over ${connection}, after ${spent} ms)`
        reject(Object.assign(error, { reused: sent.reusedSocket }))
      })
      sent.on('finish', () => {
        if (sent.reusedSocket) this.reused++
      })
      sent.end(body)
    })
  }
}

/** Throws where the body breaks off. */
export async function textOf(response: IncomingMessage): Promise<string> {
  let text = ''
  for await (const part of response.setEncoding('utf8')) text += part
  return text
}
