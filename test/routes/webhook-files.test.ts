import { expect, test } from 'vitest'
import { uuidv7 } from '../../src/lib/ids.ts'
import { filesService } from '../../src/services/files.service.ts'
import { createTestApp, type Client } from '../support/app.ts'

const app = await createTestApp()
const { signIn, db } = app
type Body = { [key: string]: any }
const json = async (response: Response) => (await response.json()) as Body
const binary = new Uint8Array([0, 255, 128, 13, 10])

async function aWebhook(client: Client, settings: object = {}): Promise<Body> {
  const steps = [{ id: 'echo', kind: 'transform', value: { $expr: 'input' } }]
  const recipe = await json(await client.post('/api/workflow-recipes', { name: `R ${uuidv7()}`, steps }))
  return json(
    await client.post('/api/webhooks', { recipe_id: recipe['id'], auth: { mode: 'header_token' }, ...settings }),
  )
}
function aForm() {
  const form = new FormData()
  form.append('subject', 'Invoice')
  form.append('tag', 'a')
  form.append('tag', 'b')
  form.append('doc', new File([binary], 'invoice.pdf', { type: 'application/pdf' }))
  return form
}
const deliver = (hook: Body, form: FormData, headers: Record<string, string> = {}) =>
  app.app.request(`/api/webhooks/recipe/${hook['id']}`, {
    method: 'POST',
    headers: { 'x-webhook-token': hook['secret'], ...headers },
    body: form,
  })
const filesOf = async (client: Client) => (await json(await client.get('/api/files')))['items'] as Body[]
const inputOf = async (id: string) =>
  (await db.selectFrom('runs').select('input').where('id', '=', id).executeTakeFirstOrThrow()).input

test('the files of a form become handles in the input, and belong to the run', async () => {
  const client = await signIn()
  const hook = await aWebhook(client)
  const response = await deliver(hook, aForm())
  expect(response.status).toBe(202)
  const { execution_id } = await json(response)
  const [file, ...rest] = await filesOf(client)
  expect(rest).toEqual([])
  expect(file).toMatchObject({ name: 'invoice.pdf', source: 'webhook', execution_id, expires_at: null, size: 5 })
  expect(await inputOf(execution_id)).toEqual({ subject: 'Invoice', tag: ['a', 'b'], doc: file!['handle'] })
  const content = await client.get(`/api/files/${file!['id']}/content`)
  expect(new Uint8Array(await content.arrayBuffer())).toEqual(binary)
})

test('a filter and a mapping see the handle; what the filter keeps out leaves no file and is not kept', async () => {
  const client = await signIn()
  const hook = await aWebhook(client, {
    filter: "body.doc.media_type == 'application/pdf' && body.doc.size < 5",
    input_mapping: { name: '{{ body.doc.name }}' },
  })
  expect(await json(await deliver(hook, aForm()))).toMatchObject({ verdict: 'filtered' })
  expect(await filesOf(client)).toEqual([])
  const { items } = await json(await client.get(`/api/webhooks/${hook['id']}/deliveries`))
  expect(items).toMatchObject([{ verdict: 'filtered', redeliverable: false }])
})

test('an event that comes twice has its files once', async () => {
  const client = await signIn()
  const hook = await aWebhook(client)
  const once = { 'webhook-id': 'evt-1' }
  const first = await json(await deliver(hook, aForm(), once))
  const second = await json(await deliver(hook, aForm(), once))
  expect(second).toMatchObject({ verdict: 'duplicate', execution_id: first['execution_id'] })
  expect(await filesOf(client)).toHaveLength(1)
})

test('a delivery is delivered again with the same file', async () => {
  const client = await signIn()
  const hook = await aWebhook(client)
  const { delivery_id, execution_id } = await json(await deliver(hook, aForm()))
  const again = await client.post(`/api/webhooks/${hook['id']}/deliveries/${delivery_id}/redeliver`)
  const answer = await json(again)
  expect(again.status, JSON.stringify(answer)).toBe(202)
  expect(await inputOf(answer['execution_id'])).toEqual(await inputOf(execution_id))
  expect(await filesOf(client)).toHaveLength(1)
})

test('files of a delivery that starts nothing go after a day', async () => {
  const own = await createTestApp()
  const steps = [{ id: 'echo', kind: 'transform', value: 1 }]
  const inputs = { type: 'object', required: ['nothing_like_it'] }
  const recipe = await json(await own.post('/api/workflow-recipes', { name: 'R', steps, inputs }))
  const hook = await json(await own.post('/api/webhooks', { recipe_id: recipe['id'], auth: { mode: 'header_token' } }))
  const response = await own.app.request(`/api/webhooks/recipe/${hook['id']}`, {
    method: 'POST',
    headers: { 'x-webhook-token': hook['secret'] },
    body: aForm(),
  })
  expect(response.status).toBe(422)
  expect(await filesOf(own)).toHaveLength(1)
  await own.database.shiftClock({ seconds: 86_400 + 60 })
  await filesService.tick(own.runtime)
  expect(await own.db.selectFrom('files').select('id').execute()).toEqual([])
})

test("a sender's form that names another workspace's file gets nothing of it", async () => {
  const [client, other] = [await signIn(), await signIn()]
  await deliver(await aWebhook(other), aForm())
  const [foreign] = await filesOf(other)
  const hook = await aWebhook(client)
  const response = await app.app.request(`/api/webhooks/recipe/${hook['id']}`, {
    method: 'POST',
    headers: { 'x-webhook-token': hook['secret'], 'content-type': 'application/json' },
    body: JSON.stringify({ doc: foreign!['handle'] }),
  })
  expect(response.status).toBe(202)
  expect((await client.get(`/api/files/${foreign!['id']}/content`)).status).toBe(404)
})
