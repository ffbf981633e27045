import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { expect, inject, test } from 'vitest'
import worker from '../../src/index.ts'
import type { Bindings } from '../../src/runtime/workers/bindings.ts'
import './support/provided.ts'

const credential = { authorization: `Bearer ${inject('workersAdminKey')}`, 'content-type': 'application/json' }

async function send(
  path: string,
  { method = 'GET', headers = {}, body }: { method?: string; headers?: Record<string, string>; body?: unknown } = {},
  bindings: Bindings = env,
) {
  const context = createExecutionContext()
  const request = new Request(new URL(path, 'http://localhost'), {
    method,
    headers,
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  const response = await worker.fetch(request, bindings, context)
  const text = await response.text()
  await waitOnExecutionContext(context)
  return { status: response.status, headers: response.headers, text }
}
const post = (path: string, body?: unknown, headers = {}, bindings: Bindings = env) =>
  send(path, { method: 'POST', headers: { ...credential, ...headers }, body }, bindings)

/** A run that has ended, which its caller has waited for. */
async function run(): Promise<string> {
  const slug = `recipe-${crypto.randomUUID().slice(0, 8)}`
  const steps = [{ id: 'one', kind: 'transform', value: 'Hello' }]
  await post('/api/workflow-recipes', { name: 'Greeting', slug, steps, output: { $expr: 'steps.one.output' } })
  const ended = await post(`/api/workflow-recipes/${slug}/execute`, {}, { prefer: 'wait=30' })
  expect([ended.status, JSON.parse(ended.text)]).toMatchObject([200, { status: 'succeeded', output: 'Hello' }])
  expect(ended.headers.get('preference-applied')).toBe('wait=30')
  return (JSON.parse(ended.text) as { id: string }).id
}

test('who waits for a run gets its end, and a signed address opens the output and nothing else', async () => {
  const id = await run()
  const { url } = JSON.parse((await post(`/api/executions/${id}/output/link`)).text) as { url: string }
  const { pathname, search } = new URL(url)
  expect(await send(pathname + search)).toMatchObject({ status: 200, text: 'Hello' })
  expect((await send(`/api/executions/${id}/events${search}`)).status).toBe(401)
  expect((await send(`${pathname}${search}x`)).status).toBe(401)
})

test('without a key ring links answer 503 and name the setting, and everything else goes on', async () => {
  const id = await run()
  const bindings = { ...env, CREDENTIAL_ENCRYPTION_KEY: undefined } as Bindings
  const refused = await post(`/api/executions/${id}/output/link`, undefined, {}, bindings)
  expect([refused.status, JSON.parse(refused.text)]).toMatchObject([
    503,
    { type: '/problems/unavailable', detail: expect.stringContaining('CREDENTIAL_ENCRYPTION_KEY') },
  ])
  const headers = { authorization: credential.authorization }
  expect((await send(`/api/executions/${id}/output`, { headers }, bindings)).status).toBe(200)
})
