import { createServer, type AddressInfo, type Socket } from 'node:net'
import type { PGlite } from '@electric-sql/pglite'
import { fault, statementName, statusAfter, takeMessages, takeStartup, welcome, type Message } from './wire.ts'

export interface EmbeddedServer {
  port: number
  close(): Promise<void>
}

/**
 * Serves PGlite on loopback to any number of PostgreSQL clients. It has one session, so they take turns: a client keeps
 * it from the first message until the server is ready for a query outside of any transaction. For development alone:
 * there is no password, and settings of a session are everybody's.
 */
export async function serveEmbedded(pglite: PGlite, port = 0): Promise<EmbeddedServer> {
  const turns = new Turns()
  const { rows } = await pglite.query<{ server_version: string }>('show server_version')
  const greeting = welcome({
    server_version: rows[0]!.server_version,
    server_encoding: 'UTF8',
    client_encoding: 'UTF8',
    DateStyle: 'ISO, MDY',
    IntervalStyle: 'postgres',
    TimeZone: 'UTC',
    integer_datetimes: 'on',
    standard_conforming_strings: 'on',
  })
  const clients = new Set<Client>()
  const server = createServer((socket) => {
    const client = new Client(socket, pglite, turns, greeting)
    clients.add(client)
    socket.on('close', () => clients.delete(client))
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(port, '127.0.0.1', resolve)
  })
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve))
      await Promise.all([...clients].map((client) => client.end()))
      await closed
    },
  }
}

/** Who may use the session: first come, first served. */
class Turns {
  #last: Promise<void> = Promise.resolve()

  /** Resolves with the function that gives the turn back. */
  async take(): Promise<() => void> {
    const before = this.#last
    let giveBack = () => {}
    this.#last = new Promise((resolve) => (giveBack = resolve))
    await before
    return giveBack
  }
}

class Client {
  readonly #socket: Socket
  readonly #pglite: PGlite
  readonly #turns: Turns
  readonly #greeting: Buffer
  readonly #statements = new Set<string>()
  readonly #left: Promise<void>
  #hasLeft = () => {}
  #buffer: Buffer = Buffer.alloc(0)
  #isStarted = false
  #waiting: Message[] = []
  #isWorking = false
  #isGone = false
  #giveBack: (() => void) | undefined

  constructor(socket: Socket, pglite: PGlite, turns: Turns, greeting: Buffer) {
    this.#socket = socket
    this.#pglite = pglite
    this.#turns = turns
    this.#greeting = greeting
    this.#left = new Promise((resolve) => (this.#hasLeft = resolve))
    socket.setNoDelay(true)
    socket.on('data', (data) => this.#read(data))
    socket.on('error', () => socket.destroy())
    socket.on('close', () => {
      this.#isGone = true
      void this.#work()
    })
  }

  /** Cuts the connection and waits until the session is clean. */
  end(): Promise<void> {
    this.#socket.destroy()
    return this.#left
  }

  #read(data: Buffer): void {
    this.#buffer = Buffer.concat([this.#buffer, data])
    while (!this.#isStarted) {
      const packet = takeStartup(this.#buffer)
      if (!packet) return
      this.#buffer = packet.rest
      if (packet.kind === 'encrypt') {
        this.#socket.write('N')
      } else if (packet.kind === 'start') {
        this.#isStarted = true
        this.#socket.write(this.#greeting)
      } else {
        // There is no other process to cancel a query in.
        this.#socket.end()
        return
      }
    }
    const { messages, rest } = takeMessages(this.#buffer)
    this.#buffer = rest
    this.#waiting.push(...messages)
    void this.#work()
  }

  async #work(): Promise<void> {
    if (this.#isWorking) return
    this.#isWorking = true
    try {
      while (this.#waiting.length > 0 && !this.#isGone) {
        if (this.#waiting[0]!.type === 'X') {
          this.#socket.end()
          return
        }
        await this.#exchange()
      }
      if (this.#isGone) await this.#leave()
    } catch (error) {
      this.#socket.end(fault(`The embedded database failed: ${(error as Error).message}`))
    } finally {
      this.#isWorking = false
      if (this.#isGone) {
        this.#giveBack?.()
        this.#hasLeft()
      }
    }
  }

  async #exchange(): Promise<void> {
    this.#giveBack ??= await this.#turns.take()
    const end = this.#waiting.findIndex((message) => message.type === 'X')
    const batch = this.#waiting.splice(0, end === -1 ? Infinity : end)
    for (const message of batch) if (message.type === 'P') this.#statements.add(statementName(message))
    const answer = await this.#pglite.execProtocolRaw(Buffer.concat(batch.map((message) => message.bytes)))
    if (!this.#isGone) this.#socket.write(answer)
    if (statusAfter(answer) === 'idle') {
      this.#giveBack()
      this.#giveBack = undefined
    }
  }

  /** Leaves the session as it was found: no open transaction, no statement of this client. */
  async #leave(): Promise<void> {
    this.#waiting = []
    this.#statements.delete('')
    if (!this.#giveBack && this.#statements.size === 0) return
    this.#giveBack ??= await this.#turns.take()
    await this.#pglite.exec('rollback')
    for (const name of this.#statements) {
      await this.#pglite.exec(`deallocate "${name.replaceAll('"', '""')}"`).catch(() => {})
    }
    this.#statements.clear()
  }
}
