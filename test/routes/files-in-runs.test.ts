import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, expect, test } from 'vitest'
import { engineOf, runsService } from '../../src/services/runs/index.ts'
import { filesService } from '../../src/services/files.service.ts'
import { retentionService } from '../../src/services/retention.service.ts'
import { createTestApp, type Client } from '../support/app.ts'

const app = await createTestApp()
const { runtime, db } = app
const binary = new Uint8Array([0, 255, 128, 13, 10, 9])
const received: { type: string | undefined; body: Uint8Array<ArrayBuffer> }[] = []
const server = createServer((request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    if (request.method === 'GET') response.writeHead(200, { 'content-type': 'image/png' }).end(binary)
    else {
      received.push({ type: request.headers['content-type'], body: new Uint8Array(Buffer.concat(chunks)) })
      response.writeHead(204).end()
    }
  })
})
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
afterAll(() => {
  server.closeAllConnections()
  server.close()
})

type Body = { [key: string]: any }
const json = async (response: Response) => (await response.json()) as Body
async function execute(client: Client, steps: object[], input: object = {}): Promise<Body> {
  const recipe = await json(await client.post('/api/workflow-recipes', { name: 'R', steps }))
  const started = await client.post(`/api/workflow-recipes/${recipe['id']}/execute`, { input_data: input })
  expect(started.status).toBe(202)
  await runsService.tick(runtime)
  await engineOf(runtime).idle()
  return json(await client.get(started.headers.get('location')!))
}
const upload = async (client: Client): Promise<Body> =>
  json(
    await app.app.request('/api/files?name=report.pdf', {
      method: 'POST',
      headers: { authorization: `Bearer ${client.key}`, 'content-type': 'application/pdf' },
      body: binary,
    }),
  )
const logo = { id: 'logo', kind: 'http', parse: 'bytes', request: { method: 'GET', url: `${url}/logo.png` } }

test('an uploaded file and one that a step made are sent on by a run, and the latter goes with the run', async () => {
  const client = await app.signIn()
  const file = await upload(client)
  const run = await execute(
    client,
    [
      logo,
      { id: 'store', kind: 'http', request: { method: 'PUT', url, body: { $expr: 'input.report' } } },
      {
        id: 'post',
        kind: 'http',
        request: {
          method: 'POST',
          url,
          headers: { 'Content-Type': 'multipart/form-data' },
          body: {
            title: '{{ input.report.name }}',
            attachments: [{ $expr: 'input.report' }, { $expr: 'steps.logo.output.body' }],
          },
        },
      },
    ],
    { report: { $file: file['id'] } },
  )
  expect(run['status'], JSON.stringify(run)).toBe('succeeded')
  const [stored, posted] = received.splice(0)
  expect(stored).toEqual({ type: 'application/pdf', body: binary })
  const form = await new Response(posted!.body, { headers: { 'content-type': posted!.type! } }).formData()
  expect(form.get('title')).toBe('report.pdf')
  expect((form.getAll('attachments') as File[]).map(({ name }) => name)).toEqual(['report.pdf', 'logo.png'])

  const { items } = await json(await client.get(`/api/files?execution_id=${run['id']}`))
  expect(items).toMatchObject([{ name: 'logo.png', media_type: 'image/png', source: 'step', size: 6 }])
  await db.deleteFrom('runs').where('id', '=', run['id']).execute()
  expect((await client.get(`/api/files/${items[0].id}`)).status).toBe(404)
  expect((await client.get(`/api/files/${file['id']}`)).status).toBe(200)
})

test("a handle that an expression makes up of another workspace's file sends nothing", async () => {
  const [owner, stranger] = [await app.signIn(), await app.signIn()]
  const file = await upload(owner)
  const run = await execute(
    stranger,
    [
      { id: 'made', kind: 'transform', value: { $expr: "{'$file': input.id}" } },
      { id: 'send', kind: 'http', request: { method: 'PUT', url, body: { $expr: 'steps.made.output' } } },
    ],
    { id: file['id'] },
  )
  expect(run).toMatchObject({ status: 'failed', error: { kind: 'file-not-found' } })
  expect(received).toEqual([])
})

test('a step that is tried by itself leaves a file that can be looked at for a day', async () => {
  const client = await app.signIn()
  const recipe = await json(await client.post('/api/workflow-recipes', { name: 'R', steps: [logo] }))
  const tried = await json(await client.post(`/api/workflow-recipes/${recipe['id']}/steps/logo/test`, {}))
  expect(tried['status'], JSON.stringify(tried)).toBe('succeeded')
  const path = `/api/files/${tried['output'].body.$file}`
  expect(new Uint8Array(await (await client.get(`${path}/content`)).arrayBuffer())).toEqual(binary)
  expect(await json(await client.get(path))).toMatchObject({ execution_id: null, expires_at: expect.any(String) })
})

test('large values of a run go with it when its days are over', async () => {
  const own = await createTestApp()
  const steps = [{ id: 'big', kind: 'transform', value: { $expr: 'input.text' } }]
  const recipe = await json(await own.post('/api/workflow-recipes', { name: 'R', steps }))
  await own.post(`/api/workflow-recipes/${recipe['id']}/execute`, { input_data: { text: 'x'.repeat(300_000) } })
  await runsService.tick(own.runtime)
  await engineOf(own.runtime).idle()
  const keys = (await own.db.selectFrom('run_blobs').select('key').execute()).map(({ key }) => key)
  expect(keys.length).toBeGreaterThan(0)
  for (const key of keys) expect(await own.runtime.blobs.get(key)).not.toBeNull()
  await own.database.shiftClock({ seconds: 91 * 86_400 })
  await retentionService.tick(own.runtime)
  await filesService.tick(own.runtime)
  for (const key of keys) expect(await own.runtime.blobs.get(key)).toBeNull()
  expect(await own.db.selectFrom('run_blobs').select('key').execute()).toEqual([])
  expect((await json(await own.get('/api/executions')))['items']).toEqual([])
})
