import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { wires, type WireAnswer, type WireProvider } from './provider-wire.ts'

/** How the server treats one request. */
export type Behaviour =
  | ({ kind: 'answer' } & Partial<WireAnswer>)
  | { kind: 'status'; status: number; headers?: Record<string, string> }
  /** Takes the request and says nothing until `release()`. */
  | { kind: 'hold' }
  /** Breaks the connection in the middle of the stream. */
  | { kind: 'cut' }
  /** Ends the stream properly, but before the answer's own end: after so many of its events, or half of them. */
  | ({ kind: 'end-early'; events?: number } & Partial<WireAnswer>)
  /** Sends something that is not JSON in the middle of the stream. */
  | { kind: 'malformed' }

export interface RecordedRequest {
  provider: WireProvider
  path: string
  headers: Record<string, string | string[] | undefined>
  body: Record<string, unknown>
}

export interface ProviderServer {
  url: string
  baseUrl(provider: WireProvider): string
  /** What an operator sets so that all providers are this server. */
  env: Record<string, string>
  requests: RecordedRequest[]
  /** What to do with the next requests, in this order; without a script every request is answered. */
  script(...behaviours: Behaviour[]): void
  /** Answers what is held. */
  release(): void
  /** Resolves when a request is being held. */
  held(): Promise<void>
  close(): Promise<void>
}

export const defaultUsage = { input: 1000, cached: 200, output: 50, reasoning: 0 }
export const testKey = 'sk-test-key-of-the-operator'

/** A local server that speaks the wire formats of all providers, streaming included. */
export async function startProviderServer(): Promise<ProviderServer> {
  const requests: RecordedRequest[] = []
  const queue: Behaviour[] = []
  const waiting: (() => void)[] = []
  let onHeld = deferred()

  const server = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => response.destroy(error as Error))
  })

  async function handle(request: IncomingMessage, response: ServerResponse) {
    const { pathname } = new URL(request.url ?? '/', 'http://server')
    const [, provider, path] = /^\/([a-z-]+)(\/.*)$/.exec(pathname) ?? []
    const wire = wires[provider as WireProvider]
    if (!wire || !path || !wire.path.test(path)) return void response.writeHead(404).end('{}')
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = JSON.parse(Buffer.concat(chunks).toString('utf8')) as Record<string, unknown>
    requests.push({ provider: provider as WireProvider, path, headers: request.headers, body })

    let behaviour = queue.shift() ?? { kind: 'answer' as const }
    if (behaviour.kind === 'hold') {
      const released = new Promise<void>((resolve) => waiting.push(resolve))
      onHeld.resolve()
      await released
      behaviour = { kind: 'answer' }
    }
    if (behaviour.kind === 'status') {
      response.writeHead(behaviour.status, { 'content-type': 'application/json', ...behaviour.headers })
      return void response.end(JSON.stringify(wire.error(behaviour.status, `scripted failure, key ${testKey}`)))
    }
    const answer: Partial<WireAnswer> = behaviour.kind === 'answer' || behaviour.kind === 'end-early' ? behaviour : {}
    const frames = wire.frames({
      text: answer.calls && !answer.text ? [] : ['Hello ', 'from ', 'the model.'],
      calls: [],
      usage: defaultUsage,
      ...answer,
    })
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    if (behaviour.kind === 'answer') {
      for (const frame of frames) response.write(frame)
      return void response.end()
    }
    const half = frames.slice(0, (behaviour.kind === 'end-early' && behaviour.events) || Math.ceil(frames.length / 2))
    await new Promise<void>((resolve) => response.write(half.join(''), () => resolve()))
    // No reset: it may overtake what was written, and then nothing of an answer arrives that could be cut.
    if (behaviour.kind === 'cut') return void response.socket?.end()
    if (behaviour.kind === 'malformed') {
      response.write('data: {"choices": [{"delta": oops\n\n')
      response.write(frames.slice(half.length).join(''))
    }
    response.end()
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const baseUrl = (provider: WireProvider) => `${url}/${provider}`
  return {
    url,
    baseUrl,
    env: {
      OPENAI_API_KEY: testKey,
      OPENAI_BASE_URL: baseUrl('openai'),
      ANTHROPIC_API_KEY: testKey,
      ANTHROPIC_BASE_URL: baseUrl('anthropic'),
      GOOGLE_API_KEY: testKey,
      GOOGLE_BASE_URL: baseUrl('google'),
      OPENROUTER_API_KEY: testKey,
      OPENROUTER_BASE_URL: baseUrl('openrouter'),
      OPENAI_COMPATIBLE_API_KEY: testKey,
      OPENAI_COMPATIBLE_BASE_URL: baseUrl('openai-compatible'),
    },
    requests,
    script: (...behaviours) => void queue.push(...behaviours),
    release() {
      onHeld = deferred()
      for (const go of waiting.splice(0)) go()
    },
    held: () => onHeld.promise,
    async close() {
      for (const go of waiting.splice(0)) go()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve = () => {}
  const promise = new Promise<void>((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}
