import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, expect, test } from 'vitest'
import { createMemoryBlobs } from '../../../src/runtime/memory-blobs.ts'
import { storeFile } from '../../../src/services/files/store-file.ts'
import type { HttpStep } from '../../../src/services/recipes/definition.ts'
import { httpStep } from '../../../src/services/steps/http.step.ts'
import { createTestDatabase } from '../../support/database.ts'
import { createServiceContext } from '../../support/service-context.ts'
import { createStepContext } from '../../support/step-context.ts'

const database = await createTestDatabase()
let handle: (request: IncomingMessage, response: ServerResponse, body: Buffer) => void
const server = createServer((request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => handle(request, response, Buffer.concat(chunks)))
})
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
afterAll(async () => {
  server.closeAllConnections()
  server.close()
  await database.close()
})

const blobs = createMemoryBlobs()
const setUp = async () => ({ ...(await createServiceContext(database)), blobs })
const binary = new Uint8Array([0, 255, 128, 13, 10, 1])
const aFile = async (ctx: Awaited<ReturnType<typeof setUp>>) =>
  (await storeFile(ctx, { name: 'a"b.bin', mediaType: 'image/x-test', bytes: binary, source: 'upload' })).file.handle
const step = (request: HttpStep['request'], more: Partial<HttpStep> = {}): HttpStep => ({
  kind: 'http',
  id: 'call',
  request,
  ...more,
})
const post = (body: HttpStep['request']['body'], headers?: Record<string, string>) =>
  step({ method: 'POST', url, ...(body !== undefined && { body }), ...(headers && { headers }) })
type Seen = { type: string | undefined; body: Uint8Array<ArrayBuffer> }
function recording(): Seen[] {
  const seen: Seen[] = []
  handle = ({ headers }, response, body) => {
    seen.push({ type: headers['content-type'], body: new Uint8Array(body) })
    response.writeHead(200).end()
  }
  return seen
}

test('with parse: bytes the answer becomes a file of the workspace, named as the answer says', async () => {
  const ctx = await setUp()
  handle = (_, response) =>
    response
      .writeHead(200, {
        'content-type': 'application/pdf',
        'content-disposition': `attachment; filename="x"; filename*=UTF-8''r%C3%A9sum%C3%A9.pdf`,
      })
      .end(binary)
  const output = await httpStep(step({ method: 'GET', url }, { parse: 'bytes' }), createStepContext(ctx).context)
  expect(output).toMatchObject({
    status: 200,
    body: {
      name: 'résumé.pdf',
      media_type: 'application/pdf',
      size: 6,
      sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
    },
  })
  const { $file } = (output as { body: { $file: string } }).body
  expect(await blobs.get(`files/${ctx.actor.workspaceId}/${$file}`)).toEqual(binary)
})

test('without a name it has that of the address; an answer that failed is none', async () => {
  const ctx = await setUp()
  handle = ({ url: path }, response) => response.writeHead(path === '/no' ? 404 : 200).end(binary)
  const named = step({ method: 'GET', url: `${url}/a/photo%201.jpg?x=1` }, { parse: 'bytes' })
  expect(await httpStep(named, createStepContext(ctx).context)).toMatchObject({
    body: { name: 'photo 1.jpg', media_type: 'application/octet-stream' },
  })
  const missing = step({ method: 'GET', url: `${url}/no` }, { parse: 'bytes', accept: [404] })
  expect(await httpStep(missing, createStepContext(ctx).context)).toMatchObject({ body: expect.any(String) })
})

test('a file as a body is its bytes under its media type, or under the one that the step names', async () => {
  const ctx = await setUp()
  const file = await aFile(ctx)
  const seen = recording()
  await httpStep(post(file), createStepContext(ctx).context)
  await httpStep(post({ $file: file.$file }, { 'Content-Type': 'image/png' }), createStepContext(ctx).context)
  expect(seen).toEqual([
    { type: 'image/x-test', body: binary },
    { type: 'image/png', body: binary },
  ])
})

test('in a form files are parts among the others, and a repeat is the same to the byte', async () => {
  const ctx = await setUp()
  const file = await aFile(ctx)
  const seen = recording()
  const form = post({ note: 'naïve', docs: [file, file], count: 2 }, { 'content-type': 'multipart/form-data' })
  await httpStep(form, createStepContext(ctx).context)
  await httpStep(form, createStepContext(ctx).context)
  expect(seen[1]).toEqual(seen[0])
  const parts = await new Response(seen[0]!.body, { headers: { 'content-type': seen[0]!.type! } }).formData()
  expect([parts.get('note'), parts.get('count')]).toEqual(['naïve', '2'])
  const docs = parts.getAll('docs') as File[]
  expect(docs).toHaveLength(2)
  // Runtimes read the same head differently, so the head itself is looked at.
  const text = new TextDecoder('latin1').decode(seen[0]!.body)
  expect(text.split('filename="a%22b.bin"\r\nContent-Type: image/x-test\r\n')).toHaveLength(3)
  expect(new Uint8Array(await docs[0]!.arrayBuffer())).toEqual(binary)
})

test("another workspace's file, a wrong hash and what never was are not sent", async () => {
  const [ctx, stranger] = [await setUp(), await setUp()]
  const file = await aFile(ctx)
  const seen = recording()
  const attempts = [
    () => httpStep(post(file), createStepContext(stranger).context),
    () => httpStep(post({ a: file }, { 'content-type': 'multipart/form-data' }), createStepContext(stranger).context),
    () => httpStep(post({ ...file, sha256: '0'.repeat(64) }), createStepContext(ctx).context),
    () => httpStep(post({ $file: '../../x' }), createStepContext(ctx).context),
  ]
  for (const attempt of attempts)
    await expect(attempt()).rejects.toMatchObject({ kind: 'file-not-found', retryable: false })
  expect(seen).toEqual([])
})

test('a handle within JSON is data', async () => {
  const ctx = await setUp()
  const file = await aFile(ctx)
  const seen = recording()
  await httpStep(post({ doc: file }), createStepContext(ctx).context)
  expect(JSON.parse(new TextDecoder().decode(seen[0]!.body))).toEqual({ doc: file })
})
