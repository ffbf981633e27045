import { expect, test } from 'vitest'
import { createTestApp } from '../support/app.ts'

// What is hostile in each place of each operation is sent by test/security/contract.test.ts.
const app = await createTestApp()

test('a refusal names the places, all of them', async () => {
  const query = await app.get('/api/workflows?limit=0&q=a%00')
  expect([query.status, await query.json()]).toMatchObject([422, { errors: [{ pointer: '/query/limit' }] }])
  const text = await app.get('/api/workflows?q=a%00')
  expect([text.status, await text.json()]).toMatchObject([422, { errors: [{ pointer: '/query/q' }] }])
  const body = await app.post('/api/agents', { name: 'a\0', description: '\0', system_prompt: 'You answer.', tools: 7 })
  const { errors } = (await body.json()) as { errors: { pointer: string }[] }
  expect([body.status, errors.map(({ pointer }) => pointer).toSorted()]).toEqual([
    422,
    ['/description', '/name', '/tools'],
  ])
  expect((await app.get('/api/agents/a%00')).status).toBe(404)
})

test('a value that is kept as JSON may hold any character', async () => {
  const made = async (path: string, body: object) => ((await (await app.post(path, body)).json()) as { id: string }).id
  const agent = await made('/api/agents', { name: 'An agent', system_prompt: 'You answer.' })
  const steps = [{ id: 'one', kind: 'transform', value: 1 }]
  const recipe = await made('/api/workflow-recipes', { name: 'A recipe', steps })
  const prompt = await app.post(`/api/agents/${agent}/execute`, { prompt: 'a\0b', context: { note: '\0' } })
  expect(prompt.status).toBe(202)
  const event = await app.post('/api/events', { name: 'order.paid', payload: 'a\0b' })
  expect(event.status).toBe(202)
  const input = await app.post(`/api/workflow-recipes/${recipe}/execute`, { input_data: { note: 'a\0b' } })
  expect(input.status).toBe(202)
})
