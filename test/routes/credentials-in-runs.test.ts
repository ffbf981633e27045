import { expect, test } from 'vitest'
import { deliverDue } from '../../src/services/subscriptions/deliver.ts'
import { engineOf, runsService } from '../../src/services/runs/index.ts'
import { createTestApp, type Client } from '../support/app.ts'
import { loopbackServer } from '../support/loopback-server.ts'

const app = await createTestApp()
const { runtime } = app
type Body = { [key: string]: any }
const json = async (response: Response) => (await response.json()) as Body

async function execute(client: Client, steps: object[]): Promise<Body> {
  const recipe = await json(await client.post('/api/workflow-recipes', { name: 'R', steps }))
  const started = await client.post(`/api/workflow-recipes/${recipe['id']}/execute`, { input_data: {} })
  expect(started.status, JSON.stringify(recipe)).toBe(202)
  await runsService.tick(runtime)
  await engineOf(runtime).idle()
  await app.settle()
  return json(await client.get(started.headers.get('location')!))
}

test('a step names a credential by its id, never sees it, and its use is told with run and step', async () => {
  const client = await app.signIn()
  const { port, seen } = await loopbackServer((_, response) => response.end('ok'))
  const { id } = await json(
    await client.post('/api/credentials', {
      slug: 'svc',
      kind: 'api_key',
      hosts: [`127.0.0.1:${port}`],
      fields: { name: 'X-Key', prefix: 'Key ', value: 'value-5c1e7d' },
    }),
  )
  const request = { method: 'GET', url: `http://127.0.0.1:${port}/` }
  const run = await execute(client, [{ id: 'get', kind: 'http', request, auth: { credential: id } }])
  expect([run['status'], seen[0]!.headers['x-key']]).toEqual(['succeeded', 'Key value-5c1e7d'])
  const everything = await Promise.all(
    ['', '/steps', '/events'].map(async (path) => (await client.get(`/api/executions/${run['id']}${path}`)).text()),
  )
  expect(everything.join('')).not.toContain('value-5c1e7d')
  const { items } = await json(await client.get('/api/credentials/svc/usage'))
  expect(items).toMatchObject([{ run_id: run['id'], step: 'get', outcome: 'sent', status: 200 }])
})

test('a template reaches no credential: what is not a secret() is not there', async () => {
  const client = await app.signIn()
  for (const text of ['{{ credential }}', '{{ credentials.svc.token }}', '{{ secrets.svc.token }}']) {
    const request = { method: 'GET', url: 'https://a.example/', headers: { 'x-key': text } }
    const response = await client.post('/api/workflow-recipes', {
      name: 'R',
      steps: [{ id: 'get', kind: 'http', request }],
    })
    expect([response.status, text]).toEqual([422, text])
  }
})

test('the rules of a workspace hold for steps, tools, models of its own and webhooks out', async () => {
  const client = await app.signIn()
  const { port, seen } = await loopbackServer((_, response) => response.end('{}'))
  const url = `http://127.0.0.1:${port}/`
  await client.post('/api/webhooks/subscriptions', { url, events: ['execution.failed'] })
  await client.post('/api/egress-rules', { action: 'deny', pattern: `127.0.0.1:${port}` })
  const model = { provider: 'openai-compatible', model: 'm', base_url: url }
  for (const step of [
    { kind: 'http', request: { method: 'GET', url } },
    { kind: 'tool', tool: 'http_request', arguments: { url } },
    { kind: 'llm', prompt: 'Hello.', model },
  ]) {
    const run = await execute(client, [{ id: 'out', ...step }])
    expect([step.kind, run['status']]).toEqual([step.kind, 'failed'])
  }
  await deliverDue(runtime)
  await app.settle()
  expect(seen).toEqual([])
  const refusals = await app.db
    .selectFrom('audit_logs')
    .select(['target_id', 'actor_kind', 'after'])
    .where('workspace_id', '=', client.workspaceId)
    .where('action', '=', 'egress.refused')
    .execute()
  expect(refusals).toMatchObject([
    { target_id: `127.0.0.1:${port}`, actor_kind: 'system', after: { reason: 'denied', step: 'out' } },
  ])
})
