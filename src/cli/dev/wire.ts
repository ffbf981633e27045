/** The parts of PostgreSQL's wire protocol that sharing one session among several clients needs. */
export interface Message {
  type: string
  /** The whole message: type, length and payload. */
  bytes: Buffer
}

const headerBytes = 5

/** Takes the complete messages off the front; what is left is the beginning of the next. */
export function takeMessages(buffer: Buffer): { messages: Message[]; rest: Buffer } {
  const messages: Message[] = []
  let offset = 0
  while (buffer.length - offset >= headerBytes) {
    const end = offset + 1 + buffer.readInt32BE(offset + 1)
    if (end > buffer.length) break
    messages.push({ type: String.fromCharCode(buffer[offset]!), bytes: buffer.subarray(offset, end) })
    offset = end
  }
  return { messages, rest: buffer.subarray(offset) }
}

export type SessionStatus = 'idle' | 'in-transaction' | 'failed-transaction'
const statuses: Record<string, SessionStatus> = { I: 'idle', T: 'in-transaction', E: 'failed-transaction' }

/** The status that the last ReadyForQuery of an answer gives; undefined while the exchange goes on. */
export function statusAfter(answer: Uint8Array): SessionStatus | undefined {
  const { messages } = takeMessages(Buffer.from(answer.buffer, answer.byteOffset, answer.byteLength))
  const ready = messages.findLast((message) => message.type === 'Z')
  return ready && statuses[String.fromCharCode(ready.bytes[headerBytes]!)]
}

/** The name that a Parse gives its statement; '' for the unnamed one. */
export const statementName = (parse: Message) =>
  parse.bytes.toString('utf8', headerBytes, parse.bytes.indexOf(0, headerBytes))

const startupCodes: Record<number, 'start' | 'encrypt' | 'cancel'> = {
  196608: 'start',
  80877102: 'cancel',
  80877103: 'encrypt',
  80877104: 'encrypt',
}

/** The first packets of a connection have no type: a length, then a code. Undefined while one is incomplete. */
export function takeStartup(
  buffer: Buffer,
): { kind: 'start' | 'encrypt' | 'cancel' | 'unknown'; rest: Buffer } | undefined {
  if (buffer.length < 8 || buffer.length < buffer.readInt32BE(0)) return undefined
  return {
    kind: startupCodes[buffer.readInt32BE(4)] ?? 'unknown',
    rest: buffer.subarray(Math.max(8, buffer.readInt32BE(0))),
  }
}

export function message(type: string, payload: Buffer): Buffer {
  const head = Buffer.alloc(headerBytes)
  head.write(type, 0, 'latin1')
  head.writeInt32BE(payload.length + 4, 1)
  return Buffer.concat([head, payload])
}

/** What a server says to a client that it lets in. */
export function welcome(parameters: Record<string, string>): Buffer {
  return Buffer.concat([
    message('R', Buffer.alloc(4)),
    ...Object.entries(parameters).map(([name, value]) => message('S', Buffer.from(`${name}\0${value}\0`))),
    message('K', Buffer.alloc(8)),
    message('Z', Buffer.from('I')),
  ])
}

export const fault = (text: string) => message('E', Buffer.from(`SFATAL\0VFATAL\0C08000\0M${text}\0\0`))
