import { createConnection, isIP, type Socket } from 'node:net'
import { hostname } from 'node:os'
import { connect as connectTls } from 'node:tls'
import type { SendMail } from '../../context.ts'
import { bareAddress, writeMessage } from '../../lib/mail-message.ts'

/** A server may take its time to look at a message; it is given up all the same. */
const timeoutMs = 60_000
/** To one command, all lines and answers together. */
const longestReply = 64 * 1024

/** The server said no. `code` is its own: 4xx may pass, 5xx is final. */
export class SmtpError extends Error {
  readonly code: number
  constructor(code: number, command: string) {
    super(`The mail server answered ${code} to ${command}.`)
    this.name = 'SmtpError'
    this.code = code
  }
}

/** Sends each message over a connection of its own: notices are few, and a kept connection would have to be watched. */
export function createSmtp(address: string): SendMail {
  const url = new URL(address)
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const secure = url.protocol === 'smtps:'
  const port = Number(url.port) || (secure ? 465 : 587)
  const user = decodeURIComponent(url.username)
  const password = decodeURIComponent(url.password)
  const isLocal = host === 'localhost' || host === '::1' || host.startsWith('127.')

  const server = { host, address: host, port, secure, user, password, mayBeClear: isLocal }
  return (mail, signal) =>
    inSession(server, signal, async (line) => {
      await line.command(`MAIL FROM:<${bareAddress(mail.from)}>`, 250)
      for (const each of mail.to) await line.command(`RCPT TO:<${each}>`, 250)
      await line.command('DATA', 354)
      // A line that is a single dot would end the message; base64 has none, and headers begin with their names.
      await line.command(`${writeMessage(mail, new Date())}.`, 250, 'the message')
    })
}

export interface SmtpServer {
  /** Its name, which certificates are checked against; none is looked up. */
  host: string
  /** Where to connect. */
  address: string
  port: number
  secure: boolean
  user: string
  password: string
  /** The password may go to a server that offers no TLS. */
  mayBeClear: boolean
}

/** Does its work between signing in and leaving. */
export async function inSession(
  { host, address, port, secure, user, password, mayBeClear }: SmtpServer,
  signal: AbortSignal,
  work: (line: Dialogue) => Promise<void>,
): Promise<void> {
  const tls = isIP(host) ? {} : { servername: host }
  signal.throwIfAborted()
  let socket: Socket = secure ? connectTls({ host: address, port, ...tls }) : createConnection({ host: address, port })
  const close = () => socket.destroy(signal.reason instanceof Error ? signal.reason : undefined)
  signal.addEventListener('abort', close)
  try {
    let line = new Dialogue(socket)
    await line.expect(220, 'the connection')
    let offers = await line.greet()
    if (!secure && offers.has('STARTTLS')) {
      await line.command('STARTTLS', 220)
      line.release()
      socket = connectTls({ socket, ...tls, ...(isIP(host) ? { host } : {}) })
      line = new Dialogue(socket)
      offers = await line.greet()
    } else if (!secure && user !== '' && !mayBeClear)
      throw new Error('The mail server offers no TLS; the password is not sent without.')
    if (user !== '') await line.authenticate(user, password, offers.get('AUTH') ?? '')
    await work(line)
    await line.command('QUIT', 221).catch(() => {})
  } finally {
    signal.removeEventListener('abort', close)
    socket.destroy()
  }
}

interface Answer {
  code: number
  lines: string[]
}

/** One command at a time, each with its answer. */
class Dialogue {
  readonly #socket: Socket
  #text = ''
  #received = 0
  #lines: string[] = []
  #waiting: { resolve: (answer: Answer) => void; reject: (error: Error) => void } | null = null
  #failure: Error | null = null
  readonly #answers: Answer[] = []

  constructor(socket: Socket) {
    this.#socket = socket
    socket.setEncoding('utf8')
    socket.setTimeout(timeoutMs, () => this.#fail(new Error('The mail server did not answer.')))
    socket.on('data', this.#read)
    socket.on('error', this.#fail)
    socket.on('close', this.#closed)
  }

  /** Lets go of the socket, which goes on under TLS. */
  release(): void {
    this.#socket.setTimeout(0)
    this.#socket.off('data', this.#read)
    this.#socket.off('error', this.#fail)
    this.#socket.off('close', this.#closed)
  }

  async greet(): Promise<Map<string, string>> {
    const { lines } = await this.command(`EHLO ${hostname().replace(/[^A-Za-z0-9.-]/g, '') || 'localhost'}`, 250)
    return new Map(
      lines.slice(1).map((each) => {
        const [name = '', ...rest] = each.split(' ')
        return [name.toUpperCase(), rest.join(' ').toUpperCase()]
      }),
    )
  }

  async authenticate(user: string, password: string, methods: string): Promise<void> {
    if (methods.includes('PLAIN') || !methods.includes('LOGIN')) {
      await this.command(`AUTH PLAIN ${encode(`\0${user}\0${password}`)}`, 235, 'AUTH')
      return
    }
    await this.command('AUTH LOGIN', 334)
    await this.command(encode(user), 334, 'AUTH')
    await this.command(encode(password), 235, 'AUTH')
  }

  command(text: string, code: number, name = text.split(' ')[0]!): Promise<Answer> {
    this.#received = 0
    this.#socket.write(`${text}\r\n`)
    return this.expect(code, name)
  }

  async expect(code: number, command: string): Promise<Answer> {
    const answer = await this.#next()
    // 251: the recipient is elsewhere, and the message is passed on.
    if (answer.code !== code && !(code === 250 && answer.code === 251)) throw new SmtpError(answer.code, command)
    return answer
  }

  #next(): Promise<Answer> {
    const known = this.#answers.shift()
    if (known) return Promise.resolve(known)
    if (this.#failure) return Promise.reject(this.#failure)
    return new Promise((resolve, reject) => (this.#waiting = { resolve, reject }))
  }

  readonly #read = (chunk: string | Buffer): void => {
    this.#text += String(chunk)
    this.#received += chunk.length
    if (this.#received > longestReply) return this.#fail(new Error('The mail server answers without end.'))
    for (let end = this.#text.indexOf('\n'); end >= 0; end = this.#text.indexOf('\n')) {
      const line = this.#text.slice(0, end).replace(/\r$/, '')
      this.#text = this.#text.slice(end + 1)
      const match = /^(\d{3})([ -]?)(.*)$/.exec(line)
      if (!match) return this.#fail(new Error('This is no mail server.'))
      this.#lines.push(match[3]!)
      if (match[2] === '-') continue
      const answer = { code: Number(match[1]), lines: this.#lines }
      this.#lines = []
      if (this.#waiting) this.#waiting.resolve(answer)
      else this.#answers.push(answer)
      this.#waiting = null
    }
  }

  readonly #closed = (): void => this.#fail(new Error('The mail server closed the connection.'))

  readonly #fail = (error: Error): void => {
    this.#failure ??= error
    this.#waiting?.reject(error)
    this.#waiting = null
    this.#socket.destroy()
  }
}

const encode = (text: string) => Buffer.from(text, 'utf8').toString('base64')
