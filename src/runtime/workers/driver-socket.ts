import { connect } from 'cloudflare:sockets'

type Listener = (value?: unknown) => void
/** The driver reads with the methods of the class that its own chunks are of. */
type DriverBytes = Uint8Array & { constructor: { from(bytes: Uint8Array): Uint8Array } }

/**
 * A TCP socket as postgres.js wants one. Its own for Workers throws into the void when a connection is closed while a
 * read is pending, which is always: every request would end with an unhandled rejection.
 */
export class DriverSocket {
  readyState: 'open' | 'closed' = 'open'
  readonly #socket: Socket
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>
  readonly #listeners = new Map<string, Set<Listener>>()
  #toDriver: ((bytes: Uint8Array) => Uint8Array) | undefined

  constructor(hostname: string, port: number) {
    this.#socket = connect({ hostname, port }, { secureTransport: 'off', allowHalfOpen: false })
    this.#writer = this.#socket.writable.getWriter()
    // Told by the read loop already; nobody may be left to tell here.
    this.#socket.opened.catch(() => {})
    this.#socket.closed.catch(() => {})
    void this.#read(this.#socket.readable.getReader())
  }

  on(event: string, listener: Listener): this {
    const listeners = this.#listeners.get(event) ?? new Set()
    this.#listeners.set(event, listeners.add(listener))
    return this
  }
  once(event: string, listener: Listener): this {
    const once: Listener = (value) => {
      this.removeListener(event, once)
      listener(value)
    }
    return this.on(event, once)
  }
  removeListener(event: string, listener: Listener): this {
    this.#listeners.get(event)?.delete(listener)
    return this
  }
  removeAllListeners(): this {
    this.#listeners.clear()
    return this
  }

  write(chunk: Uint8Array, done?: () => void): boolean {
    const { constructor } = chunk as DriverBytes
    this.#toDriver ??= (bytes) => constructor.from(bytes)
    this.#writer.write(chunk).then(done, (error: unknown) => this.#close(error))
    return true
  }

  /** Sends what is left and closes. */
  end(chunk?: Uint8Array): void {
    if (chunk) this.#writer.write(chunk).catch(() => {})
    this.#close()
  }
  destroy(): void {
    this.#close()
  }

  async #read(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
    try {
      for (;;) {
        const { done, value } = await reader.read()
        if (done) break
        this.#emit('data', this.#toDriver!(value))
      }
      this.#close()
    } catch (error) {
      this.#close(error)
    }
  }

  #close(error?: unknown): void {
    if (this.readyState === 'closed') return
    this.readyState = 'closed'
    this.#writer
      .close()
      .catch(() => {})
      .then(() => this.#socket.close())
      .catch(() => {})
    if (error !== undefined) this.#emit('error', error)
    this.#emit('close', error !== undefined)
  }

  #emit(event: string, value: unknown): void {
    // A copy, because the driver takes all listeners away while it hears of the end, and more than one waits for it.
    Array.from(this.#listeners.get(event) ?? []).forEach((listener) => listener(value))
  }
}
