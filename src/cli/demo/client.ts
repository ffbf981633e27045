import { readServerEvents, type ServerEvent } from '../server-events.ts'

/** The few calls of the API that the demo makes, by hand: what they send is what a reader would send with curl. */
export class DemoClient {
  readonly #url: string
  readonly #headers: Record<string, string>

  constructor(url: string, key: string) {
    this.#url = url
    this.#headers = { 'x-api-key': key, 'content-type': 'application/json' }
  }

  async call<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await fetch(`${this.#url}${path}`, {
      method,
      headers: this.#headers,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${text}`)
    return JSON.parse(text) as T
  }

  async *events(path: string): AsyncGenerator<ServerEvent> {
    const response = await fetch(`${this.#url}${path}`, { headers: this.#headers })
    if (!response.ok || !response.body) throw new Error(`GET ${path} answered ${response.status}`)
    yield* readServerEvents(response.body)
  }
}
