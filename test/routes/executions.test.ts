import { expect, test } from 'vitest'
import { engineOf, runsService } from '../../src/services/runs/index.ts'
import { createTestApp, type Client } from '../support/app.ts'

const app = await createTestApp()
const { signIn } = app

interface ExecutionPage {
  items: { id: string; status: string; created_at: string }[]
  next_cursor: string | null
}

test('pages through executions newest first, each once, with the filters kept', async () => {
  const client = await signIn()
  const recipe = await client.post('/api/workflow-recipes', {
    name: 'Paged',
    steps: [{ id: 'only', kind: 'transform', value: 1 }],
  })
  expect(recipe.status).toBe(201)
  const { id: recipeId } = (await recipe.json()) as { id: string }
  const started: string[] = []
  for (let i = 0; i < 5; i += 1) {
    const response = await client.post(`/api/workflow-recipes/${recipeId}/execute`, { input_data: {} })
    expect(response.status).toBe(202)
    started.push(((await response.json()) as { execution_id: string }).execution_id)
  }

  const seen: ExecutionPage['items'] = []
  let cursor: string | null = ''
  while (cursor !== null) {
    const query: string = `recipe_id=${recipeId}&status=queued&limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`
    const page = (await (await client.get(`/api/executions?${query}`)).json()) as ExecutionPage
    seen.push(...page.items)
    cursor = page.next_cursor
  }
  expect(seen.map(({ id }) => id).toSorted()).toEqual(started.toSorted())
  const byTime = seen.toSorted((a, b) => b.created_at.localeCompare(a.created_at) || (a.id < b.id ? 1 : -1))
  expect(seen).toEqual(byTime)
})

test('another workspace sees none of them, and a cursor that no list has given is a fault', async () => {
  const stranger = await signIn()
  expect(await (await stranger.get('/api/executions')).json()).toEqual({ items: [], next_cursor: null })
  const response = await stranger.get('/api/executions?cursor=bm9uc2Vuc2U')
  expect(response.status).toBe(422)
  expect(await response.json()).toMatchObject({ errors: [{ pointer: '/query/cursor' }] })
})

const recipe = {
  name: 'Double',
  slug: 'double',
  inputs: { type: 'object', properties: { n: { type: 'integer' } }, required: ['n'], additionalProperties: false },
  steps: [{ id: 'twice', kind: 'transform', value: { $expr: 'input.n * 2' } }],
}

async function aRecipe(client: Client, definition: object = recipe): Promise<string> {
  const response = await client.post('/api/workflow-recipes', definition)
  expect(response.status).toBe(201)
  return ((await response.json()) as { id: string }).id
}
async function work(): Promise<void> {
  await runsService.tick(app.runtime)
  await engineOf(app.runtime).idle()
}
const execute = (client: Client, body: unknown, headers: Record<string, string> = {}) =>
  client.post('/api/workflow-recipes/double/execute', body, headers)

test('an execution is accepted with its place, and its answer holds input, output, steps and usage once it has run', async () => {
  const client = await app.signIn()
  const recipeId = await aRecipe(client)
  const started = await execute(client, { input_data: { n: 21 } })
  expect(started.status).toBe(202)
  const { id, ...rest } = (await started.json()) as { id: string }
  expect(rest).toEqual({ execution_id: id, recipe_id: recipeId, recipe_version: 1, status: 'queued' })
  expect(started.headers.get('location')).toBe(`/api/executions/${id}`)
  await work()
  const execution = await (await client.get(`/api/executions/${id}`)).json()
  expect(execution).toMatchObject({
    id,
    status: 'succeeded',
    recipe_id: recipeId,
    recipe_version: 1,
    trigger: { kind: 'api' },
    input: { n: 21 },
    output: 42,
    error: null,
    steps: [{ path: 'twice', kind: 'transform', status: 'succeeded', attempts: 1, output: 42, error: null }],
    steps_total: 1,
    usage: { model_calls: 0, input_tokens: 0, output_tokens: 0, cost_usd: '0' },
  })
  expect(await (await client.get(`/api/executions/${id}/steps`)).json()).toMatchObject({
    items: [{ path: 'twice' }],
    next_cursor: null,
  })
})

test('input that does not fit the recipe is refused with pointers, and no run is made', async () => {
  const client = await app.signIn()
  await aRecipe(client)
  const response = await execute(client, { input_data: { n: 'many', color: 1 } })
  expect(response.status).toBe(422)
  const problem = (await response.json()) as { errors: { pointer: string }[] }
  expect(problem.errors.map((fault) => fault.pointer).sort()).toEqual(['/input_data/color', '/input_data/n'])
  expect((await execute(client, {})).status).toBe(422)
  expect(await (await client.get('/api/executions')).json()).toMatchObject({ items: [] })
})

test('one Idempotency-Key makes one run, however often and however much at once it is sent', async () => {
  const client = await app.signIn()
  await aRecipe(client)
  const key = { 'idempotency-key': crypto.randomUUID() }
  const answers = await Promise.all(Array.from({ length: 8 }, () => execute(client, { input_data: { n: 1 } }, key)))
  expect(answers.map((answer) => answer.status)).toEqual(Array(8).fill(202))
  const ids = await Promise.all(answers.map(async (answer) => ((await answer.json()) as { id: string }).id))
  expect(new Set(ids).size).toBe(1)
  const other = await execute(client, { input_data: { n: 2 } }, key)
  expect(other.status).toBe(422)
  // The key is the workspace's own: another's request with the same key is another request.
  const stranger = await app.signIn()
  await aRecipe(stranger)
  expect((await execute(stranger, { input_data: { n: 1 } }, key)).status).toBe(202)
})

test('events come from the beginning or behind Last-Event-ID, and end with the run', async () => {
  const client = await app.signIn()
  await aRecipe(client)
  const { id } = (await (await execute(client, { input_data: { n: 1 } })).json()) as { id: string }
  const following = client.get(`/api/executions/${id}/events`).then((response) => response.text())
  await work()
  const ids = (text: string) => [...text.matchAll(/^id: (\d+)$/gm)].map((match) => Number(match[1]))
  const types = (text: string) => [...text.matchAll(/^event: (.+)$/gm)].map((match) => match[1])
  const whole = await following
  expect(ids(whole)).toEqual(ids(whole).map((_, index) => index + 1))
  expect(types(whole)).toEqual([
    'execution.queued',
    'execution.started',
    'step.started',
    'step.succeeded',
    'execution.succeeded',
  ])
  const rest = await (await client.get(`/api/executions/${id}/events`, { 'last-event-id': '3' })).text()
  expect(ids(rest)).toEqual([4, 5])
  expect(await (await client.get(`/api/executions/${id}/events?last_event_id=3`)).text()).toBe(rest)
  const header = { 'last-event-id': '3' }
  expect(await (await client.get(`/api/executions/${id}/events?last_event_id=1`, header)).text()).toBe(rest)
  const over = await client.get(`/api/executions/${id}/events`, { 'last-event-id': '5' })
  expect([over.status, await over.text()]).toEqual([204, ''])
  expect((await client.get(`/api/executions/${id}/events`, { 'last-event-id': 'x' })).status).toBe(422)
})

test('a waiting execution is canceled at once, and canceling again changes nothing', async () => {
  const client = await app.signIn()
  await aRecipe(client, { ...recipe, inputs: {}, steps: [{ id: 'pause', kind: 'wait', duration: '1h' }] })
  const { id } = (await (await execute(client, {})).json()) as { id: string }
  await work()
  expect(await (await client.get(`/api/executions/${id}`)).json()).toMatchObject({ status: 'waiting' })
  const canceled = await client.post(`/api/executions/${id}/cancel`, { reason: 'no longer wanted' })
  expect(canceled.status).toBe(202)
  const first = await canceled.json()
  expect(first).toMatchObject({
    status: 'canceled',
    error: { kind: 'canceled', detail: 'no longer wanted' },
    steps: [{ path: 'pause', status: 'canceled' }],
  })
  expect(await (await client.post(`/api/executions/${id}/cancel`)).json()).toEqual(first)
})

test("another workspace's execution answers on every path as one that never existed", async () => {
  const client = await app.signIn()
  await aRecipe(client)
  const { id } = (await (await execute(client, { input_data: { n: 1 } })).json()) as { id: string }
  const stranger = await app.signIn()
  const nobody = crypto.randomUUID()
  for (const [method, path] of [
    ['GET', ''],
    ['GET', '/steps'],
    ['GET', '/events'],
    ['POST', '/cancel'],
  ] as const) {
    const foreign = await stranger.request(method, `/api/executions/${id}${path}`)
    const missing = await stranger.request(method, `/api/executions/${nobody}${path}`)
    expect([foreign.status, missing.status]).toEqual([404, 404])
    const shape = async (response: Response, named: string) =>
      JSON.stringify({ ...((await response.json()) as object), request_id: '' }).replaceAll(named, 'ID')
    expect(await shape(foreign, id)).toBe(await shape(missing, nobody))
  }
  expect((await stranger.post('/api/workflow-recipes/double/execute', {})).status).toBe(404)
  expect((await stranger.get('/api/workflow-recipes/double/executions')).status).toBe(404)
})
