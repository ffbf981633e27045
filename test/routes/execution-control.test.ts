import { expect, test } from 'vitest'
import { engineOf, runsService } from '../../src/services/runs/index.ts'
import { createTestApp, type Client } from '../support/app.ts'

const app = await createTestApp()

interface Execution {
  id: string
  status: string
  steps: { path: string; status: string; output: unknown }[]
}

async function work(): Promise<void> {
  await runsService.tick(app.runtime)
  await engineOf(app.runtime).idle()
}
async function started(client: Client, steps: unknown[], input = {}): Promise<string> {
  const recipe = await client.post('/api/workflow-recipes', { name: 'Controlled', steps })
  expect(recipe.status).toBe(201)
  const { id } = (await recipe.json()) as { id: string }
  const run = await client.post(`/api/workflow-recipes/${id}/execute`, { input_data: input })
  expect(run.status).toBe(202)
  return ((await run.json()) as { id: string }).id
}
const read = async (response: Response) => (await response.json()) as Execution
const hour = { id: 'wait', kind: 'wait', duration: '1h' }

test('an execution is paused, says so in its log, and goes on when it is resumed', async () => {
  const client = await app.signIn()
  const id = await started(client, [{ id: 'one', kind: 'transform', value: 1 }])
  const paused = await client.post(`/api/executions/${id}/pause`, { reason: 'a look at it' })
  expect(paused.status).toBe(202)
  expect(await paused.json()).toMatchObject({ id, status: 'paused', generation: 1 })
  expect((await client.post(`/api/executions/${id}/pause`)).status).toBe(202)
  await work()
  expect(await (await client.get(`/api/executions/${id}`)).json()).toMatchObject({ status: 'paused', steps: [] })
  const list = await (await client.get('/api/executions?status=paused')).json()
  expect(list).toMatchObject({ items: [{ id }] })
  const resumed = await client.post(`/api/executions/${id}/resume`)
  expect([resumed.status, (await read(resumed)).status]).toEqual([202, 'queued'])
  await work()
  const log = await (await client.get(`/api/executions/${id}/events`)).text()
  expect(log).toContain('"reason":"a look at it"')
  expect(log).toContain('event: execution.succeeded')
})

test('what makes no sense in the state that an execution is in is a conflict, and changes nothing', async () => {
  const client = await app.signIn()
  const id = await started(client, [{ id: 'one', kind: 'transform', value: 1 }])
  for (const verb of ['resume', 'retry', 'replay'])
    expect((await client.post(`/api/executions/${id}/${verb}`)).status, verb).toBe(409)
  await work()
  const before = await (await client.get(`/api/executions/${id}`)).json()
  for (const verb of ['pause', 'resume', 'retry']) {
    const answer = await client.post(`/api/executions/${id}/${verb}`)
    expect([answer.status, answer.headers.get('content-type')], verb).toEqual([409, 'application/problem+json'])
  }
  expect(await (await client.get(`/api/executions/${id}`)).json()).toEqual(before)
})

test('a failed execution is retried as itself; its log goes on behind its first end', async () => {
  const client = await app.signIn()
  const id = await started(client, [
    { id: 'good', kind: 'transform', value: 1 },
    { id: 'bad', kind: 'fail', message: 'not today' },
  ])
  await work()
  expect(await (await client.get(`/api/executions/${id}`)).json()).toMatchObject({ status: 'failed' })
  const retried = await client.post(`/api/executions/${id}/retry`)
  expect(retried.status).toBe(202)
  expect(await retried.json()).toMatchObject({ id, status: 'queued', generation: 2, error: null, finished_at: null })
  await work()
  const after = await read(await client.get(`/api/executions/${id}`))
  expect(after).toMatchObject({ status: 'failed', generation: 2, steps: [{ path: 'good' }, { path: 'bad' }] })
  const log = await (await client.get(`/api/executions/${id}/events`)).text()
  expect([...log.matchAll(/^event: execution\.(failed|retried)$/gm)].map(([, type]) => type)).toEqual([
    'failed',
    'retried',
    'failed',
  ])
})

test('an execution is replayed from a step, in another version and on another input where that is asked for', async () => {
  const client = await app.signIn()
  const id = await started(
    client,
    [
      { id: 'n', kind: 'transform', value: { $expr: 'input.n' } },
      { id: 'sum', kind: 'transform', value: { $expr: 'steps.n.output + 1' } },
    ],
    { n: 1 },
  )
  await work()
  const { recipe_id } = (await (await client.get(`/api/executions/${id}`)).json()) as { recipe_id: string }
  const changed = await client.patch(`/api/workflow-recipes/${recipe_id}`, {
    steps: [
      { id: 'n', kind: 'transform', value: { $expr: 'input.n' } },
      { id: 'sum', kind: 'transform', value: { $expr: 'steps.n.output + 100' } },
    ],
  })
  expect(changed.status).toBe(200)
  const replay = (body: object, headers = {}) => client.post(`/api/executions/${id}/replay`, body, headers)
  const output = async (response: Response) => {
    expect(response.status).toBe(202)
    const { id: made } = await read(response)
    expect(response.headers.get('location')).toBe(`/api/executions/${made}`)
    await work()
    return (await (await client.get(`/api/executions/${made}`)).json()) as { output: unknown; replay_of: string }
  }
  expect(await output(await replay({ from_step: 'sum' }))).toMatchObject({ output: 2, replay_of: id })
  expect(await output(await replay({ from_step: 'sum', recipe_version: 2 }))).toMatchObject({
    output: 101,
    recipe_version: 2,
    replayed_from: 'sum',
  })
  expect(await output(await replay({ input_data: { n: 5 } }))).toMatchObject({ output: 6, replayed_from: null })

  const key = { 'idempotency-key': crypto.randomUUID() }
  const twice = await Promise.all([replay({ from_step: 'sum' }, key), replay({ from_step: 'sum' }, key)])
  const ids = await Promise.all(twice.map(async (answer) => (await read(answer)).id))
  expect(new Set(ids).size).toBe(1)

  const missing = await replay({ from_step: 'nothing' })
  expect(missing.status).toBe(422)
  expect(await missing.json()).toMatchObject({ errors: [{ pointer: '/from_step' }] })
  expect((await replay({ recipe_version: 9 })).status).toBe(422)
})

test("another workspace's execution answers to every command as one that never existed", async () => {
  const client = await app.signIn()
  const id = await started(client, [hour])
  const stranger = await app.signIn()
  for (const verb of ['pause', 'resume', 'retry', 'replay']) {
    expect((await stranger.post(`/api/executions/${id}/${verb}`)).status, verb).toBe(404)
    expect((await stranger.post(`/api/executions/nonsense/${verb}`)).status, verb).toBe(404)
  }
  const reader = await app.signIn({ workspace: client.workspaceId, scopes: ['executions:read'] })
  for (const verb of ['pause', 'resume', 'retry', 'replay'])
    expect((await reader.post(`/api/executions/${id}/${verb}`)).status, verb).toBe(403)
})
