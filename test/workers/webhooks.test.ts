import { createExecutionContext, createScheduledController, waitOnExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { expect, inject, test } from 'vitest'
import worker from '../../src/index.ts'
import { signMessage } from '../../src/lib/standard-webhooks.ts'
import './support/provided.ts'

const credential = { authorization: `Bearer ${inject('workersAdminKey')}`, 'content-type': 'application/json' }
type Body = { [key: string]: any }

async function send(method: string, path: string, body?: string, headers: Record<string, string> = credential) {
  const context = createExecutionContext()
  const request = new Request(new URL(path, 'http://localhost'), {
    method,
    headers,
    ...(body !== undefined && { body }),
  })
  const response = await worker.fetch(request, env, context)
  const text = await response.text()
  await waitOnExecutionContext(context)
  return { status: response.status, headers: response.headers, body: JSON.parse(text) as Body }
}
const post = (path: string, body: object, headers = {}) =>
  send('POST', path, JSON.stringify(body), { ...credential, ...headers })
async function cronMinute() {
  const trigger = createExecutionContext()
  await worker.scheduled(createScheduledController(), env, trigger)
  await waitOnExecutionContext(trigger)
}
const slug = () => `recipe-${crypto.randomUUID().slice(0, 8)}`
const steps = [{ id: 'one', kind: 'transform', value: { $expr: 'input.n * 2' } }]

test('a repeated request has its effect once', async () => {
  const key = { 'idempotency-key': crypto.randomUUID() }
  const recipe = { name: 'Double', slug: slug(), steps }
  const [first, again] = [
    await post('/api/workflow-recipes', recipe, key),
    await post('/api/workflow-recipes', recipe, key),
  ]
  expect([first.status, again.status]).toEqual([201, 201])
  expect(again.headers.get('idempotency-replayed')).toBe('true')
  expect(again.body).toEqual(first.body)
})

test('a signed delivery runs its recipe and the sender waits; the end of the run is sent on', async () => {
  const recipe = await post('/api/workflow-recipes', {
    name: 'Double',
    slug: slug(),
    steps,
    output: { $expr: 'steps.one.output' },
  })
  // Refused by the egress guard: that it was tried and noted is what a Worker has to show here.
  const subscription = await post('/api/webhooks/subscriptions', {
    url: 'http://127.0.0.1/hook',
    recipe_id: recipe.body['id'],
  })
  const hook = await post('/api/webhooks', { recipe_id: recipe.body['id'] })
  expect([subscription.status, hook.status]).toEqual([201, 201])
  const text = JSON.stringify({ n: 21 })
  const message = { id: crypto.randomUUID(), timestampS: Math.floor(Date.now() / 1000), body: text }
  const deliver = () =>
    send('POST', `/api/webhooks/recipe/${hook.body['id']}`, text, {
      'content-type': 'application/json',
      prefer: 'wait=30',
      ...signMessage([hook.body['secret']], message),
    })
  const answer = await deliver()
  expect([answer.status, answer.body]).toMatchObject([200, { verdict: 'accepted', status: 'succeeded', output: 42 }])
  expect((await deliver()).body).toMatchObject({ verdict: 'duplicate', execution_id: answer.body['execution_id'] })
  const log = `/api/webhooks/subscriptions/${subscription.body['id']}/deliveries`
  await expect
    .poll(
      async () => {
        await cronMinute()
        return ((await send('GET', log)).body['items'] as Body[])[0]?.['log']?.[0]?.['error']
      },
      { timeout: 15_000, interval: 200 },
    )
    .toEqual(expect.any(String))
})
