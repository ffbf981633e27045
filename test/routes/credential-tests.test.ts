import { createServer, type AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { createTestApp } from '../support/app.ts'
import { loopbackServer } from '../support/loopback-server.ts'
import { startS3Server, missingBucket } from '../support/s3-server.ts'
import { s3Access } from '../support/s3-access.ts'

const app = await createTestApp()
const { signIn } = app
type Fields = { [name: string]: unknown }
const json = async (response: Response) => (await response.json()) as { [key: string]: any }

/** Stores a credential and tests it: what came of it, and what is kept. */
async function tested(body: Fields): Promise<{ ok: boolean | null; detail: string }> {
  const client = await signIn()
  const made = await client.post('/api/credentials', { slug: 'svc', ...body })
  expect(made.status, await made.clone().text()).toBe(201)
  const response = await client.post('/api/credentials/svc/test')
  const { ok, detail, ...rest } = await json(response)
  expect(response.status).toBe(200)
  expect((await json(await client.get('/api/credentials/svc')))['last_test']).toEqual({ ok, detail, ...rest })
  return { ok, detail }
}

test('by an address of its own: what the server answers decides', async () => {
  const { port, seen } = await loopbackServer((request, response) =>
    response.writeHead(request.headers.authorization === 'Bearer good' ? 204 : 401).end(),
  )
  const body = (token: string) => ({
    kind: 'bearer',
    fields: { token },
    hosts: [`127.0.0.1:${port}`],
    test_url: `http://127.0.0.1:${port}/me`,
  })
  expect(await tested(body('good'))).toEqual({ ok: true, detail: 'It was accepted (204).' })
  expect(await tested(body('bad'))).toEqual({ ok: false, detail: 'It was refused (401).' })
  expect(seen.map(({ method, url }) => `${method} ${url}`)).toEqual(['GET /me', 'GET /me'])
  expect(await tested({ kind: 'bearer', fields: { token: 'x' }, hosts: ['a.example'] })).toMatchObject({ ok: null })
  const elsewhere = { ...body('good'), slug: 'other', hosts: ['a.example'] }
  expect((await app.post('/api/credentials', elsewhere)).status).toBe(422)
})

test.each([
  ['slack', { token: 'xoxb-1' }, 'POST /auth.test', { authorization: 'Bearer xoxb-1' }],
  ['discord', { token: 'bot-1' }, 'GET /users/@me', { authorization: 'Bot bot-1' }],
  ['telegram', { token: '12:ab_C' }, 'GET /bot12:ab_C/getMe', {}],
])('%s by the call that its service documents', async (kind, fields, line, headers) => {
  const { port, seen } = await loopbackServer((_, response) => response.end(JSON.stringify({ ok: true })))
  const made = { kind, fields: { ...fields, api_url: `http://127.0.0.1:${port}` } }
  expect(await tested(made)).toMatchObject({ ok: true })
  expect(seen.map(({ method, url }) => `${method} ${url}`)).toEqual([line])
  expect(seen[0]!.headers).toMatchObject(headers)
})

test('a service that answers 200 and says no is not taken for one that accepts', async () => {
  const { port } = await loopbackServer((_, response) => response.end('{"ok":false,"error":"invalid_auth"}'))
  const body = { kind: 'slack', fields: { token: 'xoxb-1', api_url: `http://127.0.0.1:${port}` } }
  expect(await tested(body)).toEqual({ ok: false, detail: 'The service does not accept it (200, invalid_auth).' })
})

test('S3 by a signed HEAD of the bucket, whose signature the server computes again', async () => {
  const server = await startS3Server()
  onTestFinished(() => server.stop())
  const { accessKeyId, secretAccessKey, region } = s3Access
  const fields = { endpoint: server.endpoint, region, bucket: 'files', access_key_id: accessKeyId }
  const body = (bucket: string, secret: string) => ({
    kind: 's3',
    fields: { ...fields, bucket, secret_access_key: secret },
  })
  expect(await tested(body('files', secretAccessKey))).toMatchObject({ ok: true })
  expect(await tested(body(missingBucket, secretAccessKey))).toMatchObject({ ok: false })
  expect(await tested(body('files', 'wrong'))).toEqual({ ok: false, detail: 'It was refused (403).' })
})

test('a bucket that stands in the host is a host of its credential', async () => {
  const fields = { endpoint: 'https://s3.example.com', region: 'auto', bucket: 'files', access_key_id: 'a' }
  const body = { kind: 's3', fields: { ...fields, secret_access_key: 's', path_style: false } }
  const made = await (await signIn()).post('/api/credentials', { slug: 'svc', ...body })
  expect((await json(made))['hosts']).toEqual(['s3.example.com', 'files.s3.example.com'])
})

test('OAuth client credentials by asking for a token', async () => {
  const { port, seen } = await loopbackServer((request, response) => {
    const good = request.headers.authorization === `Basic ${btoa('c%26:s%3A')}`
    response.writeHead(good ? 200 : 401).end(JSON.stringify(good ? { access_token: 't' } : { error: 'invalid_client' }))
  })
  const fields = { token_url: `http://127.0.0.1:${port}/token`, client_id: 'c&', scope: 'read' }
  const body = (secret: string) => ({
    kind: 'oauth2_client_credentials',
    hosts: ['api.example.com'],
    fields: { ...fields, client_secret: secret },
  })
  expect(await tested(body('s:'))).toMatchObject({ ok: true })
  expect(await tested(body('wrong'))).toEqual({
    ok: false,
    detail: 'The authorization server answered invalid_client.',
  })
  expect(seen[0]!.body).toBe('grant_type=client_credentials&scope=read')
})

test('SMTP by signing in, at the address that was checked', async () => {
  const heard: string[] = []
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.write('220 ready\r\n')
    socket.on('data', (chunk) => {
      for (const line of chunk.toString().split('\r\n').filter(Boolean)) {
        heard.push(line)
        if (line.startsWith('EHLO')) socket.write('250-test\r\n250 AUTH PLAIN\r\n')
        else if (line.startsWith('AUTH')) socket.write(line.endsWith(btoa('\0u\0good')) ? '235 ok\r\n' : '535 no\r\n')
        else socket.end('221 bye\r\n')
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  const { port } = server.address() as AddressInfo
  const body = (more: Fields) => ({
    kind: 'smtp',
    fields: { host: '127.0.0.1', port, username: 'u', password: 'good', ...more },
  })
  expect(await tested(body({}))).toEqual({ ok: true, detail: 'Signed in.' })
  expect(await tested(body({ password: 'bad' }))).toEqual({ ok: false, detail: 'The mail server answered 535.' })
  expect(heard).toContain('QUIT')
  expect(await tested(body({ host: '10.0.0.1' }))).toMatchObject({
    ok: false,
    detail: expect.stringMatching(/private address/),
  })
  const { signIn: _none, ...without } = app.runtime
  const bare = await createTestApp({ database: app.database, runtime: { ...without, signIn: undefined } })
  await bare.post('/api/credentials', { slug: 'svc', ...body({}) })
  expect(await json(await bare.post('/api/credentials/svc/test'))).toMatchObject({
    ok: null,
    detail: 'Type smtp is not testable on this runtime: it opens no sockets.',
  })
})

test('a private address is refused and said so, and nobody but the workspace tests it', async () => {
  const body = { kind: 'bearer', fields: { token: 'x' }, hosts: ['10.0.0.1'], test_url: 'https://10.0.0.1/' }
  expect(await tested(body)).toMatchObject({ ok: false, detail: expect.stringMatching(/private address/) })
  const reader = await signIn({ scopes: ['credentials:read'] })
  expect((await reader.post('/api/credentials/svc/test')).status).toBe(403)
  expect((await (await signIn()).post('/api/credentials/svc/test')).status).toBe(404)
})
