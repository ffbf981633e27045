import { createHash, timingSafeEqual } from 'node:crypto'
import { createConnection, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { EgressError } from '../../lib/egress-error.ts'
import { refused } from '../egress/destination.ts'

/** All that a server may say, before TLS and again under it. */
const mostBytes = 64 * 1024
/** PostgreSQL's own default is 4096; a server that asks for millions wants nothing but the time of this process. */
const mostIterations = 100_000

export interface PostgresServer {
  /** Its name, which certificates are checked against; none is looked up. */
  host: string
  /** Where to connect. */
  address: string
  port: number
  database: string
  username: string
  password: string
  tls: 'verify-full' | 'require' | 'disable'
  /** The operator has opened the place: a password may go there in the clear. */
  trusted: boolean
}

/** The server said no, with a state of SQL. */
export class PostgresRefusal extends Error {
  readonly state: string
  constructor(state: string) {
    super(`The database refused the sign-in (${state}).`)
    this.name = 'PostgresRefusal'
    this.state = state
  }
}

/**
 * Signs in at a database that a tenant names, and leaves. Of the protocol it knows this and no more: a driver trusts its
 * server with the number of rounds of a key derivation, and with the memory of the process.
 */
export async function signInAtPostgres(server: PostgresServer, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  let socket: Socket = createConnection({ host: server.address, port: server.port })
  const close = () => socket.destroy()
  signal.addEventListener('abort', close)
  try {
    let line = new Line(socket)
    if (server.tls !== 'disable') {
      line.write(int32(8), int32(80_877_103))
      const answer = String.fromCharCode((await line.take(1))[0]!)
      if (answer !== 'S') throw refused('credential', `${server.host} offers no TLS; the password is not sent without.`)
      // What stands in the clear behind the answer would be read as if it had come under TLS.
      if (line.hasMore) throw new Error('The server speaks before TLS has begun.')
      line.release()
      const name = isIP(server.host) ? { host: server.host } : { servername: server.host }
      socket = connectTls({ socket, ...name, rejectUnauthorized: server.tls === 'verify-full' })
      line = new Line(socket)
    }
    line.send(
      '',
      int32(196_608),
      ...['user', server.username, 'database', server.database, ''].map((part) => text(part)),
    )
    await authenticate(line, server)
    // A database that is not there, or full, is told only now.
    for (let message = await next(line); message.type !== 'Z'; message = await next(line)) {
      if (!'SKN'.includes(message.type)) throw new Error('This is no database.')
    }
    line.send('X')
    socket.end()
  } finally {
    signal.removeEventListener('abort', close)
    socket.destroy()
  }
}

async function authenticate(line: Line, server: PostgresServer): Promise<void> {
  const { host, username, password } = server
  for (let isAsked = false; ; isAsked = true) {
    const { kind, rest } = await nextAuthentication(line)
    if (kind === 0) return
    if (isAsked) throw new Error('The server asks twice.')
    if (kind === 10) {
      if (!rest.toString('latin1').split('\0').includes('SCRAM-SHA-256')) throw new Error('No mechanism is known here.')
      await scram(line, password)
      continue
    }
    if (kind !== 3 && kind !== 5) throw new Error('The server asks for a sign-in that is not known here.')
    if (server.tls !== 'verify-full' && !server.trusted)
      throw refused('credential', `${host} asks for the password itself; it is sent under tls "verify-full" alone.`)
    const salted = (value: string, salt: Buffer | string) => createHash('md5').update(value).update(salt).digest('hex')
    line.send('p', text(kind === 3 ? password : `md5${salted(salted(password, username), rest.subarray(0, 4))}`))
  }
}

/** SCRAM-SHA-256 (RFC 5802, RFC 7677), which shows the server that the password is known, and the password to nobody. */
async function scram(line: Line, password: string): Promise<void> {
  const nonce = Buffer.from(crypto.getRandomValues(new Uint8Array(18))).toString('base64')
  const first = `n=,r=${nonce}`
  const opening = Buffer.from(`n,,${first}`)
  line.send('p', text('SCRAM-SHA-256'), int32(opening.length), opening)
  const challenge = await nextAuthentication(line)
  const asked = challenge.rest.toString('latin1')
  const [, theirs = '', salt = '', count = ''] =
    /^r=([\x21-\x2b\x2d-\x7e]+),s=([A-Za-z0-9+/=]+),i=(\d{1,10})$/.exec(asked) ?? []
  const iterations = Number(count)
  if (challenge.kind !== 11 || theirs.length <= nonce.length || !theirs.startsWith(nonce))
    throw new Error('The challenge is not one of SCRAM.')
  if (iterations < 1 || iterations > mostIterations)
    throw new EgressError(
      'egress-failed',
      `The database asks for ${iterations} rounds of SCRAM; at most ${mostIterations} are made.`,
    )

  const key = await crypto.subtle.importKey('raw', encoder.encode(password.normalize('NFKC')), 'PBKDF2', false, [
    'deriveBits',
  ])
  const derivation = { name: 'PBKDF2', hash: 'SHA-256', salt: Buffer.from(salt, 'base64'), iterations }
  const saltedPassword = await crypto.subtle.deriveBits(derivation, key, 256)
  const clientKey = await hmac(saltedPassword, 'Client Key')
  const storedKey = await crypto.subtle.digest('SHA-256', clientKey)
  const final = `c=biws,r=${theirs}`
  const whole = `${first},${asked},${final}`
  const signature = await hmac(storedKey, whole)
  const proof = Buffer.from(clientKey.map((byte, at) => byte ^ signature[at]!)).toString('base64')
  line.send('p', Buffer.from(`${final},p=${proof}`))

  const { kind, rest } = await nextAuthentication(line)
  const expected = Buffer.from(
    `v=${Buffer.from(await hmac(await hmac(saltedPassword, 'Server Key'), whole)).toString('base64')}`,
  )
  if (kind !== 12 || rest.length !== expected.length || !timingSafeEqual(rest, expected))
    throw new Error('The server does not know the password itself.')
}

async function hmac(secret: BufferSource, message: string): Promise<Uint8Array<ArrayBuffer>> {
  const key = await crypto.subtle.importKey('raw', secret, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign'])
  return new Uint8Array(await crypto.subtle.sign('HMAC', key, encoder.encode(message)))
}

interface Message {
  type: string
  body: Buffer
}

async function next(line: Line): Promise<Message> {
  const head = await line.take(5)
  const type = String.fromCharCode(head[0]!)
  const size = head.readUInt32BE(1) - 4
  if (size < 0) throw new Error('This is no database.')
  const body = await line.take(size)
  if (type !== 'E') return { type, body }
  const state = body
    .toString('latin1')
    .split('\0')
    .find((field) => field.startsWith('C'))
  throw state && /^C[0-9A-Z]{5}$/.test(state) ? new PostgresRefusal(state.slice(1)) : new Error('The server refused.')
}

async function nextAuthentication(line: Line): Promise<{ kind: number; rest: Buffer }> {
  for (;;) {
    const { type, body } = await next(line)
    if (type === 'N') continue
    if (type !== 'R' || body.length < 4) throw new Error('This is no database.')
    return { kind: body.readInt32BE(0), rest: body.subarray(4) }
  }
}

/** What a server says, as it is asked for; never more than there is room for. */
class Line {
  readonly #socket: Socket
  readonly #bytes = Buffer.alloc(mostBytes)
  #start = 0
  #end = 0
  #waiting: { size: number; resolve: (bytes: Buffer) => void; reject: (error: Error) => void } | null = null
  #failure: Error | null = null

  constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', this.#read)
    socket.on('error', this.#fail)
    socket.on('close', this.#closed)
  }

  get hasMore(): boolean {
    return this.#end > this.#start
  }

  /** Lets go of the socket, which goes on under TLS. */
  release(): void {
    this.#socket.off('data', this.#read)
    this.#socket.off('error', this.#fail)
    this.#socket.off('close', this.#closed)
  }

  write(...parts: Buffer[]): void {
    this.#socket.write(Buffer.concat(parts))
  }

  /** A message; the first one of a connection has no type. */
  send(type: string, ...parts: Buffer[]): void {
    const body = Buffer.concat(parts)
    this.write(Buffer.from(type), int32(body.length + 4), body)
  }

  take(size: number): Promise<Buffer> {
    if (this.#start + size > mostBytes) this.#fail(new Error('The server answers without end.'))
    return new Promise((resolve, reject) => {
      this.#waiting = { size, resolve, reject }
      this.#give()
    })
  }

  #give(): void {
    const waiting = this.#waiting
    if (!waiting) return
    if (this.#end - this.#start >= waiting.size) {
      this.#waiting = null
      this.#start += waiting.size
      waiting.resolve(this.#bytes.subarray(this.#start - waiting.size, this.#start))
    } else if (this.#failure) {
      this.#waiting = null
      waiting.reject(this.#failure)
    }
  }

  readonly #read = (chunk: Buffer): void => {
    if (this.#end + chunk.length > mostBytes) return this.#fail(new Error('The server answers without end.'))
    this.#end += chunk.copy(this.#bytes, this.#end)
    this.#give()
  }

  readonly #closed = (): void => this.#fail(new Error('The server closed the connection.'))

  readonly #fail = (error: Error): void => {
    this.#failure ??= error
    this.#socket.destroy()
    this.#give()
  }
}

const encoder = new TextEncoder()

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

function text(value: string): Buffer {
  if (value.includes('\0')) throw new EgressError('egress-failed', 'A database takes no text with a zero character.')
  return Buffer.from(`${value}\0`)
}
