import { createHash, createHmac, pbkdf2Sync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { createSecureContext, TLSSocket } from 'node:tls'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { Refusal } from '../../src/runtime/egress.ts'
import { signInAtPostgres } from '../../src/runtime/node/postgres-sign-in.ts'
import { createSignIn } from '../../src/runtime/node/sign-in.ts'

const fixture = (name: string) => readFileSync(new URL(`../fixtures/tls/${name}`, import.meta.url))
const tls = createSecureContext({ key: fixture('test-only.key.pem'), cert: fixture('test-only.cert.pem') })
const password = 'p\u00e4ss 1'

const int32 = (value: number) => Buffer.from([value >>> 24, value >>> 16, value >>> 8, value])
const message = (type: string, ...parts: (Buffer | string)[]) => {
  const body = Buffer.concat(parts.map((part) => Buffer.from(part)))
  return Buffer.concat([Buffer.from(type), int32(body.length + 4), body])
}
const asks = (kind: number, rest: Buffer | string = '') => message('R', int32(kind), rest)
const ready = Buffer.concat([asks(0), message('S', 'a\0b\0'), message('Z', 'I')])
const noEntry = message('E', 'SFATAL\0C28P01\0Mno\0\0')
const hmac = (key: Buffer, text: string) => createHmac('sha256', key).update(text).digest()

type Say = (bytes: Buffer) => void
/** Answers each message that a client sends after its first one. */
type Script = (body: Buffer, say: Say) => void

/** A database as far as signing in goes: `begin` answers the first message, `script` those after it. */
async function database(begin: (say: Say) => void, script: Script = () => {}) {
  const heard: Buffer[] = []
  const talk = (socket: Socket) => {
    let bytes = Buffer.alloc(0)
    let isOpen = false
    const say: Say = (answer) => void socket.write(answer)
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk])
      for (;;) {
        const head = isOpen ? 1 : 0
        if (bytes.length < head + 4 || bytes.length < head + bytes.readInt32BE(head)) return
        const end = head + bytes.readInt32BE(head)
        const body = bytes.subarray(head + 4, end)
        const isTlsRequest = !isOpen && body.length === 4
        const type = isOpen ? String.fromCharCode(bytes[0]!) : ''
        bytes = bytes.subarray(end)
        if (isTlsRequest) {
          socket.removeAllListeners('data')
          socket.write('S')
          talk(new TLSSocket(socket, { isServer: true, secureContext: tls }))
          return
        }
        if (type === 'p') heard.push(body)
        if (type === 'p') script(body, say)
        else if (!isOpen) begin(say)
        isOpen = true
      }
    })
  }
  const server = createServer(talk)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  return { heard, port: (server.address() as AddressInfo).port }
}

/** The server's side of RFC 5802. */
function scram({ rounds = 4096, knows = password }: { rounds?: number; knows?: string | null } = {}) {
  const salt = Buffer.from('0123456789abcdef')
  let first = ''
  let challenge = ''
  const script: Script = (body, say) => {
    if (challenge === '') {
      first = body
        .subarray(body.indexOf(0) + 5)
        .toString()
        .replace(/^n,,/, '')
      challenge = `r=${first.split('r=')[1]}more,s=${salt.toString('base64')},i=${rounds}`
      return say(asks(11, challenge))
    }
    const [final, proof] = body.toString().split(',p=') as [string, string]
    if (knows === null) return say(Buffer.concat([asks(12, `v=${Buffer.alloc(32).toString('base64')}`), ready]))
    const salted = pbkdf2Sync(knows.normalize('NFKC'), salt, rounds, 32, 'sha256')
    const stored = createHash('sha256').update(hmac(salted, 'Client Key')).digest()
    const whole = `${first},${challenge},${final}`
    const clientKey = Buffer.from(proof, 'base64').map((byte, at) => byte ^ hmac(stored, whole)[at]!)
    if (!createHash('sha256').update(clientKey).digest().equals(stored)) return say(noEntry)
    say(Buffer.concat([asks(12, `v=${hmac(hmac(salted, 'Server Key'), whole).toString('base64')}`), ready]))
  }
  return { begin: (say: Say) => say(asks(10, 'SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0')), script }
}

const server = (port: number, more: object = {}) => ({
  host: 'db.example.com',
  address: '127.0.0.1',
  port,
  database: 'd',
  username: 'u',
  password,
  tls: 'disable' as const,
  trusted: true,
  ...more,
})
const never = new AbortController().signal
const unverified = { tls: 'require', trusted: false }

describe('a database', () => {
  test('is signed in to with SCRAM, in the clear or under TLS, and says when it refuses', async () => {
    for (const more of [{}, unverified]) {
      const { begin, script } = scram()
      const { port } = await database(begin, script)
      await signInAtPostgres(server(port, more), never)
    }
    const other = scram({ knows: 'another' })
    const { port } = await database(other.begin, other.script)
    await expect(signInAtPostgres(server(port), never)).rejects.toMatchObject({ state: '28P01' })
  })

  test('that does not know the password itself is no sign-in', async () => {
    const { begin, script } = scram({ knows: null })
    const { port } = await database(begin, script)
    await expect(signInAtPostgres(server(port), never)).rejects.toThrow('does not know the password')
    const early = await database(begin, (_, say) => say(ready))
    await expect(signInAtPostgres(server(early.port), never)).rejects.toThrow('not one of SCRAM')
  })

  test('does not choose how long this process derives a key', async () => {
    const { begin, script } = scram({ rounds: 2_147_483_647 })
    const { port, heard } = await database(begin, script)
    const signIn = createSignIn(
      { egressAllow: ['127.0.0.1'] },
      async () => null,
      () => {},
    )
    const { tls: _, ...fields } = server(port, { host: '127.0.0.1' })
    const texts = Object.fromEntries(
      Object.entries({ ...fields, tls: 'disable' }).map(([name, value]) => [name, `${value}`]),
    )
    await expect(signIn('postgres', texts, { workspaceId: 'w', hosts: ['127.0.0.1'] })).rejects.toMatchObject({
      message: 'The database asks for 2147483647 rounds of SCRAM; at most 100000 are made.',
    })
    expect(heard).toHaveLength(1)
  })

  test('is told the password itself under a checked certificate, or where the operator trusts it, and nowhere else', async () => {
    for (const [kind, sent] of [
      [3, `${password}\0`],
      [5, /^md5[0-9a-f]{32}\0$/],
    ] as const) {
      const { port, heard } = await database(
        (say) => say(asks(kind, 'salt')),
        (_, say) => say(ready),
      )
      await expect(signInAtPostgres(server(port, unverified), never)).rejects.toMatchObject({ reason: 'credential' })
      const checked = { tls: 'verify-full', trusted: false }
      await expect(signInAtPostgres(server(port, checked), never)).rejects.toThrow(/certificate/)
      expect(heard).toEqual([])
      await signInAtPostgres(server(port), never)
      expect(heard.map(String)).toEqual([expect.stringMatching(sent)])
    }
  })

  test.each<[string, Buffer]>([
    ['a message of a gigabyte', Buffer.concat([Buffer.from('R'), int32(1 << 30)])],
    [
      'notices without end',
      Buffer.concat(Array.from({ length: 3000 }, () => message('N', 'SNOTICE\0Mmore and more\0\0'))),
    ],
    [
      'answers without end after the sign-in',
      Buffer.concat([asks(0), ...Array.from({ length: 9000 }, () => message('S', 'a\0b\0'))]),
    ],
  ])('is given up that has %s', async (_, answer) => {
    const { port } = await database((say) => say(answer))
    await expect(signInAtPostgres(server(port), never)).rejects.toThrow('The server answers without end.')
  })
})

test('a mail server is given up that answers with lines without end', async () => {
  const lines = '220-more\r\n'.repeat(200)
  const mail = createServer((socket) => {
    // Bit by bit, so that each line has been read before the next one comes.
    const more = () => {
      if (socket.destroyed) return
      socket.write(lines)
      setImmediate(more)
    }
    socket.on('error', () => {})
    more()
  })
  await new Promise<void>((resolve) => mail.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void mail.close())
  const { port } = mail.address() as AddressInfo
  const signIn = createSignIn(
    { egressAllow: ['127.0.0.1'] },
    async () => null,
    () => {},
  )
  const fields = { host: '127.0.0.1', port: String(port), username: 'u', password }
  await expect(signIn('smtp', fields, { workspaceId: 'w', hosts: ['127.0.0.1'] })).rejects.toMatchObject({
    kind: 'egress-failed',
    cause: { message: 'The mail server answers without end.' },
  })
})

test('a place that is refused is told, with its port', async () => {
  const told: Refusal[] = []
  const signIn = createSignIn(
    { egressAllow: [] },
    async () => null,
    (refusal) => void told.push(refusal),
  )
  const fields = { host: '10.0.0.1', port: '25', username: 'u', password }
  for (const hosts of [['10.0.0.1:25'], ['a.example']])
    await expect(signIn('smtp', fields, { workspaceId: 'w', hosts })).rejects.toMatchObject({ kind: 'egress-refused' })
  expect(told).toEqual(
    ['address', 'credential'].map((reason) => ({
      workspaceId: 'w',
      host: '10.0.0.1:25',
      reason,
      tool: 'credential-test',
    })),
  )
})
