import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { uuidv7 } from '../../src/lib/ids.ts'
import { createTestApp, type Client } from '../support/app.ts'

const { app, signIn, runtime } = await createTestApp({ config: { fileMaxBytes: 1000 } })
type Body = { [key: string]: any }
const json = async (response: Response) => (await response.json()) as Body
const binary = new Uint8Array([0, 255, 254, 13, 10, 128, 7])
const send = (client: Client, body: BodyInit, path = '/api/files', headers: Record<string, string> = {}) =>
  app.request(path, { method: 'POST', headers: { authorization: `Bearer ${client.key}`, ...headers }, body })
async function aFile(client: Client, body: BodyInit = binary, query = '', headers = {}): Promise<Body> {
  const response = await send(client, body, `/api/files${query}`, headers)
  const made = await json(response)
  expect(response.status, JSON.stringify(made)).toBe(201)
  return made
}

test('what was uploaded comes back byte by byte, as an attachment that nothing runs', async () => {
  const client = await signIn()
  const sha256 = createHash('sha256').update(binary).digest('hex')
  const response = await send(client, binary, '/api/files?name=..%2Fa%22b%C3%A9.html', { 'content-type': 'text/html' })
  const file = await json(response)
  expect(response.status).toBe(201)
  expect(file).toMatchObject({ name: 'a"bé.html', media_type: 'text/html', size: 7, sha256, source: 'upload' })
  expect(file['handle']).toEqual({ $file: file['id'], name: 'a"bé.html', media_type: 'text/html', size: 7, sha256 })
  expect(response.headers.get('location')).toBe(`/api/files/${file['id']}`)
  expect(await json(await client.get(`/api/files/${file['id']}`))).toEqual(file)

  const content = await client.get(`/api/files/${file['id']}/content`)
  expect(new Uint8Array(await content.arrayBuffer())).toEqual(binary)
  expect(content.headers.get('content-type')).toBe('text/html')
  expect(content.headers.get('content-disposition')).toBe(
    `attachment; filename="a_b_.html"; filename*=UTF-8''a%22b%C3%A9.html`,
  )
  expect(content.headers.get('x-content-type-options')).toBe('nosniff')
  expect(content.headers.get('content-security-policy')).toContain('sandbox')
})

test('a form brings one file with its name and media type', async () => {
  const client = await signIn()
  const form = new FormData()
  form.append('file', new File([binary], 'photo.png', { type: 'image/png' }))
  expect(await aFile(client, form)).toMatchObject({ name: 'photo.png', media_type: 'image/png', size: 7 })
  form.append('more', 'text')
  expect((await send(client, form)).status).toBe(422)
  const broken = await send(client, 'no form', '/api/files', { 'content-type': 'multipart/form-data; boundary=x' })
  expect(broken.status).toBe(400)
})

test('JSON and text are files as well; what declares nothing, or nonsense, is plain bytes', async () => {
  const client = await signIn()
  const text = await aFile(client, '{"a":1}', '', { 'content-type': 'application/json' })
  const content = await client.get(`/api/files/${text['id']}/content`)
  expect(await content.text()).toBe('{"a":1}')
  for (const type of ['text/html\tx', 'no type', 'a/b; c', 'a/b; c="\u00ff"'])
    expect((await aFile(client, binary, '', { 'content-type': type }))['media_type']).toBe('application/octet-stream')
  expect(await aFile(client)).toMatchObject({ name: 'file', media_type: 'application/octet-stream' })
})

test('what a form calls its file can break no header', async () => {
  const client = await signIn()
  const body = [
    '--x',
    'Content-Disposition: form-data; name="file"; filename="a\u2028\u{1f600}.txt"',
    'Content-Type: a/b; c="\u4e00"',
    '',
    'text',
    '--x--',
    '',
  ].join('\r\n')
  const file = await aFile(client, body, '', { 'content-type': 'multipart/form-data; boundary=x' })
  const content = await client.get(`/api/files/${file['id']}/content`)
  expect([content.status, await content.text()]).toEqual([200, 'text'])
  expect(content.headers.get('content-disposition')).toContain("filename*=UTF-8''a%F0%9F%98%80.txt")
})

test('an empty file is a file', async () => {
  const client = await signIn()
  const file = await aFile(client, new Uint8Array())
  expect(file).toMatchObject({ size: 0 })
  expect((await (await client.get(`/api/files/${file['id']}/content`)).arrayBuffer()).byteLength).toBe(0)
})

test('a file has no more bytes than are allowed, whatever it comes in', async () => {
  const client = await signIn()
  await aFile(client, new Uint8Array(1000))
  const form = new FormData()
  form.append('file', new File([new Uint8Array(1001)], 'a'))
  for (const body of [new Uint8Array(1001), form, new Uint8Array(100_000)]) {
    const response = await send(client, body)
    expect(response.status).toBe(413)
  }
  expect((await json(await client.get('/api/files')))['items']).toHaveLength(1)
})

test('a repeated upload is one file; another one under the same key is refused', async () => {
  const client = await signIn()
  const key = { 'idempotency-key': 'upload-1' }
  const first = await send(client, binary, '/api/files', key)
  const again = await send(client, binary, '/api/files', key)
  expect([first.status, again.status]).toEqual([201, 201])
  expect(again.headers.get('idempotency-replayed')).toBe('true')
  expect(await json(again)).toEqual(await json(first))
  const other = await send(client, new Uint8Array(3), '/api/files', key)
  expect(await json(other)).toMatchObject({ type: '/problems/idempotency-key-reused' })
  const racing = await Promise.all(
    Array.from({ length: 6 }, () => send(client, binary, '/api/files', { 'idempotency-key': 'upload-2' })),
  )
  const ids = await Promise.all(racing.map(async (response) => (await json(response))['id']))
  expect(new Set(ids).size).toBe(1)
  expect((await json(await client.get('/api/files')))['items']).toHaveLength(2)
})

test('lists are of one workspace, newest first, page by page', async () => {
  const client = await signIn()
  const made = [await aFile(client), await aFile(client), await aFile(client)].map((file) => file['id']).toReversed()
  const first = await json(await client.get('/api/files?limit=2'))
  const second = await json(await client.get(`/api/files?limit=2&cursor=${first['next_cursor']}`))
  expect([...first['items'], ...second['items']].map(({ id }: Body) => id)).toEqual(made)
  expect((await json(await client.get('/api/files?source=step')))['items']).toEqual([])
})

test('a deleted file is gone with its bytes, and only in the state that was seen', async () => {
  const client = await signIn()
  const file = await aFile(client)
  const path = `/api/files/${file['id']}`
  const etag = (await client.get(path)).headers.get('etag')!
  expect((await client.get(path, { 'if-none-match': etag })).status).toBe(304)
  expect((await client.del(path, { 'if-match': '"other"' })).status).toBe(412)
  expect((await client.del(path, { 'if-match': etag })).status).toBe(204)
  for (const gone of [path, `${path}/content`]) expect((await client.get(gone)).status).toBe(404)
  expect(await runtime.blobs.get(`files/${client.workspaceId}/${file['id']}`)).toBeNull()
  expect((await client.del(path)).status).toBe(404)
})

test('a signed address opens the bytes and nothing else', async () => {
  const client = await signIn()
  const [file, other] = [await aFile(client), await aFile(client)]
  const { url } = await json(await client.post(`/api/files/${file['id']}/content/link`))
  const { pathname, search } = new URL(url)
  const opened = await app.request(pathname + search)
  expect(new Uint8Array(await opened.arrayBuffer())).toEqual(binary)
  expect(opened.headers.get('content-disposition')).toMatch(/^attachment/)
  expect((await app.request(`/api/files/${other['id']}/content${search}`)).status).toBe(401)
  expect((await app.request(`/api/files/${file['id']}${search}`)).status).toBe(401)
})

test('a time to live is in the future', async () => {
  const client = await signIn()
  const soon = new Date(Date.now() + 3_600_000).toISOString()
  expect(await aFile(client, binary, `?expires_at=${soon}`)).toMatchObject({ expires_at: soon })
  expect((await send(client, binary, '/api/files?expires_at=2020-01-01T00:00:00Z')).status).toBe(422)
})

test('the retention of the workspace gives uploads their end, where they name none', async () => {
  const client = await signIn()
  expect(await aFile(client)).toMatchObject({ expires_at: null })
  expect((await client.patch('/api/workspaces/current/retention', { files_days: 7 })).status).toBe(200)
  const { created_at, expires_at } = await aFile(client)
  expect(Date.parse(expires_at) - Date.parse(created_at)).toBe(7 * 86_400_000)
})

const recipe = {
  name: 'Echo',
  inputs: { type: 'object' },
  steps: [{ id: 'e', kind: 'transform', value: { $expr: 'input' } }],
}

test('an input names files by their id, and gets the whole handle', async () => {
  const client = await signIn()
  const file = await aFile(client)
  const { id } = await json(await client.post('/api/workflow-recipes', recipe))
  const started = await client.post(`/api/workflow-recipes/${id}/execute`, {
    input_data: { docs: [{ $file: file['id'] }] },
  })
  expect(started.status).toBe(202)
  const execution = await json(await client.get(started.headers.get('location')!))
  expect(execution['input']).toEqual({ docs: [file['handle']] })
})

test("another workspace's file is none, in an input as at its address", async () => {
  const [client, stranger] = [await signIn(), await signIn()]
  const file = await aFile(client)
  const { id } = await json(await stranger.post('/api/workflow-recipes', recipe))
  for (const handle of [file['handle'], { $file: file['id'] }, { $file: uuidv7() }, { $file: '../x' }]) {
    const response = await stranger.post(`/api/workflow-recipes/${id}/execute`, { input_data: { doc: handle } })
    expect(response.status).toBe(422)
    expect(await json(response)).toMatchObject({ errors: [{ pointer: '/input_data/doc' }] })
  }
  const path = `/api/files/${file['id']}`
  for (const answer of [await stranger.get(path), await stranger.get(`${path}/content`), await stranger.del(path)])
    expect(answer.status).toBe(404)
  expect((await client.get(path)).status).toBe(200)
})
