import { createServer, type AddressInfo, type Socket } from 'node:net'
import { readFileSync } from 'node:fs'
import { createServer as createTlsServer, TLSSocket, createSecureContext } from 'node:tls'
import { expect, onTestFinished, test } from 'vitest'
import { createSmtp } from '../../src/runtime/node/smtp.ts'

const fixture = (name: string) => readFileSync(new URL(`../fixtures/tls/${name}`, import.meta.url))
const tls = { key: fixture('test-only.key.pem'), cert: fixture('test-only.cert.pem') }

/** A mail server that says what it is told to, and keeps what it heard. */
async function mailServer(options: { secure?: boolean; offers?: string[]; refuse?: Record<string, string> } = {}) {
  const heard: string[] = []
  const { offers = ['AUTH PLAIN LOGIN'], refuse = {} } = options
  const talk = (socket: Socket | TLSSocket, greet: boolean) => {
    let text = ''
    let message = false
    const say = (line: string) => socket.write(`${line}\r\n`)
    socket.on('error', () => {})
    if (greet) say('220 test ready')
    socket.on('data', (chunk) => {
      text += chunk.toString()
      for (let end = text.indexOf('\r\n'); end >= 0; end = text.indexOf('\r\n')) {
        const line = text.slice(0, end)
        text = text.slice(end + 2)
        heard.push(line)
        if (message) {
          if (line !== '.') continue
          message = false
          say(refuse['.'] ?? '250 queued')
          continue
        }
        const command = line.split(' ')[0]!
        if (refuse[command]) say(refuse[command])
        else if (command === 'EHLO') say(['250-test', ...offers.map((offer) => `250-${offer}`), '250 OK'].join('\r\n'))
        else if (command === 'STARTTLS') {
          say('220 go')
          socket.removeAllListeners('data')
          talk(new TLSSocket(socket, { isServer: true, secureContext: createSecureContext(tls) }), false)
          return
        } else if (command === 'AUTH') say('235 welcome')
        else if (command === 'DATA') {
          message = true
          say('354 go ahead')
        } else if (command === 'QUIT') {
          say('221 bye')
          socket.end()
        } else say('250 fine')
      }
    })
  }
  const server = options.secure
    ? createTlsServer(tls, (socket) => talk(socket, true))
    : createServer((socket) => talk(socket, true))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  return { heard, port: (server.address() as AddressInfo).port }
}

const mail = {
  from: 'Automatos <bot@example.org>',
  to: ['kim@example.org', 'ada@example.org'],
  subject: 'Grüße, und zwar in einem Betreff, der über mehrere Zeilen geht: ✓ ✓ ✓',
  text: 'Line one\n.\n.two ✓',
  idempotencyKey: 'run/1/tell/0.0',
}
const never = new AbortController().signal

test('hands a message over, in a form that survives the way', async () => {
  const { heard, port } = await mailServer()
  await createSmtp(`smtp://user:p%40ss@127.0.0.1:${port}`)(mail, never)
  expect(heard).toContain(`AUTH PLAIN ${Buffer.from('\0user\0p@ss').toString('base64')}`)
  expect(heard.filter((line) => /^(MAIL|RCPT)/.test(line))).toEqual([
    'MAIL FROM:<bot@example.org>',
    'RCPT TO:<kim@example.org>',
    'RCPT TO:<ada@example.org>',
  ])
  const lines = heard.slice(heard.indexOf('DATA') + 1, heard.indexOf('.'))
  expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(78)
  const split = lines.indexOf('')
  const headers = lines.slice(0, split).join('\n')
  const subject = [...headers.matchAll(/=\?utf-8\?B\?([^?]+)\?=/g)].map(([, part]) =>
    Buffer.from(part!, 'base64').toString('utf8'),
  )
  expect(subject.join('')).toBe(mail.subject)
  expect(Buffer.from(lines.slice(split).join(''), 'base64').toString('utf8')).toBe('Line one\r\n.\r\n.two ✓')
})

test('a repeat has the Message-ID of the first, another message another', async () => {
  const { heard, port } = await mailServer()
  const send = createSmtp(`smtp://127.0.0.1:${port}`)
  await send(mail, never)
  await send(mail, never)
  await send({ ...mail, idempotencyKey: 'run/2/tell/0.0' }, never)
  const ids = heard.filter((line) => line.startsWith('Message-ID:'))
  expect(ids).toHaveLength(3)
  expect(new Set(ids).size).toBe(2)
})

test('tells the code of a refusal', async () => {
  const { port } = await mailServer({ refuse: { RCPT: '550 no such user' } })
  await expect(createSmtp(`smtp://127.0.0.1:${port}`)(mail, never)).rejects.toMatchObject({ code: 550 })
  const late = await mailServer({ refuse: { '.': '451 later' } })
  await expect(createSmtp(`smtp://127.0.0.1:${late.port}`)(mail, never)).rejects.toMatchObject({ code: 451 })
})

test('sends nothing over TLS to a server that it cannot verify', async () => {
  for (const [scheme, server] of [
    ['smtps', await mailServer({ secure: true })],
    ['smtp', await mailServer({ offers: ['STARTTLS', 'AUTH PLAIN'] })],
  ] as const) {
    await expect(createSmtp(`${scheme}://user:pass@127.0.0.1:${server.port}`)(mail, never)).rejects.toThrow()
    expect(server.heard.filter((line) => /^(AUTH|MAIL)/.test(line))).toEqual([])
  }
})

test('is given up with its signal', async () => {
  const server = createServer(() => {})
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  const { port } = server.address() as AddressInfo
  const stop = new AbortController()
  const sending = createSmtp(`smtp://127.0.0.1:${port}`)(mail, stop.signal)
  server.once('connection', () => stop.abort(new Error('enough')))
  await expect(sending).rejects.toThrow('enough')
})
