import { DatabaseAway } from '../lib/database-away.ts'
import { PostgresLine, type ConnectLine } from './postgres-line.ts'

export interface PoolOptions {
  connect: ConnectLine
  /** Connections at a time. */
  max: number
}

/** A statement takes milliseconds: whoever waits this long for a free connection would wait on. */
const freeWithinMs = 10_000
/** Servers and poolers leak a little with each session; none lasts longer than this. */
const lifetimeMs = 45 * 60_000
const firstPauseMs = 100
const maxPauseMs = 1_000

interface Waiter {
  resolve(line: PostgresLine): void
  reject(error: unknown): void
}

/**
 * Connections of one server. While it lets nobody in, whoever asks is refused at once, and one attempt at a time finds out
 * whether it is back: callers hear of an outage in a moment, and a server that starts is not stormed.
 */
export class PostgresPool {
  readonly #options: PoolOptions
  readonly #lines = new Set<PostgresLine>()
  readonly #idle: PostgresLine[] = []
  readonly #waiting = new Set<Waiter>()
  #connected = 0
  #away: { cause: unknown; pauseMs: number; retryAtMs: number } | null = null
  #closed = false
  #emptied = () => {}

  constructor(options: PoolOptions) {
    this.#options = options
  }

  async acquire(): Promise<PostgresLine> {
    if (this.#closed) throw new Error('The database is closed.')
    const line = this.#idle.pop()
    if (line) return line
    if (this.#mayOpen()) return this.#open()
    // Where others have a connection, one will be free soon.
    if (this.#away && this.#connected === 0) throw new DatabaseAway(this.#away.cause)
    return this.#wait()
  }

  release(line: PostgresLine): void {
    if (line.isLost) return
    if (this.#closed || performance.now() - line.openedMs > lifetimeMs) {
      line.lose(new Error('The connection has served its time.'))
      return
    }
    const [next] = this.#waiting
    if (next) next.resolve(line)
    else this.#idle.push(line)
  }

  usage(): { most: number; open: number; idle: number; waiting: number } {
    return { most: this.#options.max, open: this.#connected, idle: this.#idle.length, waiting: this.#waiting.size }
  }

  /** Refuses from now on, and waits for what is in use, for as long as it may. */
  async close(withinMs = Infinity): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    const over = new Error('The database is closed.')
    for (const waiter of this.#waiting) waiter.reject(over)
    for (const line of this.#idle.splice(0)) line.lose(over)
    if (this.#lines.size === 0) return
    const timer = withinMs === Infinity ? undefined : setTimeout(() => this.#abandon(over), withinMs)
    await new Promise<void>((resolve) => (this.#emptied = resolve))
    clearTimeout(timer)
  }

  #abandon(cause: Error): void {
    for (const line of this.#lines) line.lose(cause)
  }

  #mayOpen(): boolean {
    if (this.#closed || this.#lines.size >= this.#options.max) return false
    if (!this.#away) return true
    return this.#lines.size === this.#connected && performance.now() >= this.#away.retryAtMs
  }

  #open(): PostgresLine {
    const line = new PostgresLine(this.#options.connect, {
      connected: () => {
        this.#connected++
        this.#away = null
      },
      lost: (lost, cause) => this.#drop(lost, cause),
    })
    this.#lines.add(line)
    return line
  }

  #drop(line: PostgresLine, cause: unknown): void {
    this.#lines.delete(line)
    const at = this.#idle.indexOf(line)
    if (at >= 0) this.#idle.splice(at, 1)
    if (line.isConnected) this.#connected--
    else if (!this.#closed) this.#refused(cause)
    if (this.#closed && this.#lines.size === 0) this.#emptied()
    for (const waiter of this.#waiting) {
      if (this.#mayOpen()) waiter.resolve(this.#open())
      else if (this.#away && this.#connected === 0) waiter.reject(new DatabaseAway(this.#away.cause))
    }
  }

  #refused(cause: unknown): void {
    const pauseMs = this.#away ? Math.min(maxPauseMs, this.#away.pauseMs * 2) : firstPauseMs
    this.#away = { cause, pauseMs, retryAtMs: performance.now() + pauseMs }
  }

  #wait(): Promise<PostgresLine> {
    return new Promise((resolve, reject) => {
      const late = () => waiter.reject(new DatabaseAway(new Error('No connection became free in time.')))
      const timer = setTimeout(late, freeWithinMs)
      const leave = () => {
        clearTimeout(timer)
        this.#waiting.delete(waiter)
      }
      const waiter: Waiter = {
        resolve(line) {
          leave()
          resolve(line)
        },
        reject(error) {
          leave()
          reject(error as Error)
        },
      }
      this.#waiting.add(waiter)
    })
  }
}
