import { fork, type ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import postgres from 'postgres'
import type { Reply, Request, Work } from './contender.ts'

export interface Entrant {
  /** Its program in this folder. */
  file: string
  /** Counts what has ended, and the results of steps that are stored of it; nulls where that leaves no trace. */
  count: string
}

/** The processes of one entrant, on one database. */
export class Team {
  readonly #entrant: Entrant
  readonly #url: string
  readonly #members: Member[] = []
  #ended = 0

  constructor(entrant: Entrant, url: string) {
    this.#entrant = entrant
    this.#url = url
  }

  async join(inFlight: number, connections: number): Promise<void> {
    const member = new Member(
      join(import.meta.dirname, `${this.#entrant.file}.ts`),
      [this.#url, inFlight, connections].map(String),
    )
    this.#members.push(member)
    await member.opened
  }

  /** Runs a second. */
  async carryOut(work: Work, count: number): Promise<number> {
    let left = count
    const ended = openPromise<void>()
    for (const member of this.#members) {
      member.onFinished = (finished) => {
        left -= finished
        if (left <= 0) ended.resolve()
      }
    }
    const startMs = performance.now()
    const share = count / this.#members.length
    const started = this.#members.map((member) => member.ask({ verb: 'start', work, count: share }))
    await Promise.race([Promise.all([...started, ended.promise]), ...this.#members.map((member) => member.died)])
    await Promise.all(this.#members.map((member) => member.ask({ verb: 'settled' })))
    this.#ended += count
    return count / ((performance.now() - startMs) / 1_000)
  }

  /** That the database holds what the figures speak of. */
  async check(steps: number): Promise<void> {
    const client = postgres(this.#url, { max: 1, onnotice() {} })
    const [row] = await client.unsafe(this.#entrant.count)
    await client.end()
    const { ended, steps: stored } = row ?? { ended: -1, steps: -1 }
    if (ended === null || (ended === this.#ended && stored === steps * this.#ended)) return
    throw new Error(
      `${this.#entrant.file}: of ${this.#ended} have ended ${ended}, and ${stored} results are stored of them.`,
    )
  }

  async close(): Promise<void> {
    await Promise.all(this.#members.map((member) => member.close()))
  }
}

/** One process of a team. */
class Member {
  readonly #child: ChildProcess
  readonly #asked = new Map<number, () => void>()
  #number = 0
  onFinished: (count: number) => void = () => {}
  readonly opened: Promise<void>
  /** Rejects when the process fails or ends. */
  readonly died: Promise<never>

  constructor(file: string, args: string[]) {
    this.#child = fork(file, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    const died = openPromise<never>()
    const opened = openPromise<void>()
    this.died = died.promise
    // Whoever waits for something of this process hears of it; at its own end nobody does.
    this.died.catch(() => {})
    this.opened = Promise.race([opened.promise, this.died])
    this.#child.on('exit', (code) => died.reject(new Error(`${file} has ended with ${code}.`)))
    this.#child.on('message', (reply: Reply) => {
      if ('opened' in reply) opened.resolve()
      else if ('finished' in reply) this.onFinished(reply.finished)
      else if ('done' in reply) this.#asked.get(reply.done)?.()
      else died.reject(new Error(`${file}: ${reply.failed}`))
    })
  }

  async ask(what: Request extends infer R ? (R extends Request ? Omit<R, 'number'> : never) : never): Promise<void> {
    const number = ++this.#number
    const done = openPromise<void>()
    this.#asked.set(number, done.resolve)
    this.#child.send({ ...what, number })
    await Promise.race([done.promise, this.died])
    this.#asked.delete(number)
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null) return
    const ended = new Promise((resolve) => this.#child.once('exit', resolve))
    const late = setTimeout(() => this.#child.kill('SIGKILL'), 5_000)
    await this.ask({ verb: 'close' }).catch(() => {})
    await ended
    clearTimeout(late)
  }
}

/** A promise that others keep or break. */
function openPromise<T>() {
  let resolve!: (value: T) => void
  let reject!: (reason: unknown) => void
  const promise = new Promise<T>((...both) => ([resolve, reject] = both))
  return { promise, resolve, reject }
}
