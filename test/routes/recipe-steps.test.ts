import { expect, test } from 'vitest'
import { createTestApp, type Client } from '../support/app.ts'
import { loopbackServer } from '../support/loopback-server.ts'

const app = await createTestApp()

interface Result {
  status: string
  output: unknown
  error: { kind: string } | null
  usage: { model_calls: number; cost_usd: string | null }
  log: { type: string; data: Record<string, unknown> }[]
}

async function aRecipe(client: Client, steps: unknown[], rest: object = {}): Promise<string> {
  const answer = await client.post('/api/workflow-recipes', { name: 'Tried', steps, ...rest })
  expect(answer.status).toBe(201)
  return ((await answer.json()) as { id: string }).id
}
async function tried(client: Client, recipe: string, step: string, body: object = {}): Promise<Result> {
  const answer = await client.post(`/api/workflow-recipes/${recipe}/steps/${step}/test`, body)
  expect(answer.status).toBe(200)
  return (await answer.json()) as Result
}
async function refused(client: Client, recipe: string, step: string, body: object = {}) {
  const answer = await client.post(`/api/workflow-recipes/${recipe}/steps/${step}/test`, body)
  expect(answer.status).toBe(422)
  return ((await answer.json()) as { errors: { pointer: string }[] }).errors.map(({ pointer }) => pointer)
}

test('a step runs with the outputs that are pinned for the others, and leaves no execution behind', async () => {
  const client = await app.signIn()
  const recipe = await aRecipe(client, [
    { id: 'fetch', kind: 'http', request: { method: 'GET', url: 'http://never.invalid/' } },
    { id: 'sum', kind: 'transform', value: { $expr: 'steps.fetch.output.body.n + input.more' } },
  ])
  const result = await tried(client, recipe, 'sum', {
    input_data: { more: 2 },
    outputs: { fetch: { status: 200, body: { n: 40 } } },
  })
  expect(result).toMatchObject({ step_id: 'sum', status: 'succeeded', output: 42, error: null, recipe_version: 1 })
  expect(await (await client.get('/api/executions')).json()).toMatchObject({ items: [] })
  const rows = await app.db.selectFrom('run_steps').selectAll().execute()
  expect(rows).toEqual([])
})

test('a step is tried alone, whatever it needs; what is inside it goes by its own order', async () => {
  const client = await app.signIn()
  const recipe = await aRecipe(client, [
    { id: 'left', kind: 'transform', value: 1 },
    { id: 'right', kind: 'transform', needs: [], value: 2 },
    {
      id: 'fork',
      kind: 'branch',
      needs: ['left', 'right'],
      cases: [
        {
          when: 'steps.left.output == 10',
          steps: [
            { id: 'sum', kind: 'transform', needs: ['twice'], value: { $expr: 'steps.twice.output + 1' } },
            { id: 'twice', kind: 'transform', needs: [], value: { $expr: 'steps.right.output * 2' } },
          ],
        },
      ],
    },
  ])
  const result = await tried(client, recipe, 'fork', { outputs: { left: 10, right: 20 } })
  expect(result).toMatchObject({ status: 'succeeded', output: 40 })
  expect(await tried(client, recipe, 'sum', { outputs: { twice: 40 } })).toMatchObject({ output: 41 })
})

test('its effect is real and made once, whatever its retries say; its failure is the answer', async () => {
  const client = await app.signIn()
  let count = 0
  const server = await loopbackServer((_request, response) => {
    count++
    response.writeHead(500).end('no')
  })
  const recipe = await aRecipe(client, [
    {
      id: 'call',
      kind: 'http',
      request: { method: 'POST', url: `http://127.0.0.1:${server.port}/`, body: { n: { $expr: 'input.n' } } },
      retry: { max_attempts: 5 },
      on_error: 'continue',
    },
  ])
  const result = await tried(client, recipe, 'call', { input_data: { n: 1 } })
  expect(result).toMatchObject({ status: 'failed', output: null, error: { kind: 'http-status', status: 500 } })
  expect(count).toBe(1)
})

test('a model is asked and its cost told and noted; a loop runs over the items it is given', async () => {
  const client = await app.signIn()
  const offline = { provider: 'offline', model: 'offline' }
  const recipe = await aRecipe(client, [
    {
      id: 'each',
      kind: 'foreach',
      items: { $expr: 'input.items' },
      as: 'item',
      steps: [{ id: 'note', kind: 'llm', model: offline, prompt: 'Summarize: {{ item }}' }],
    },
  ])
  const one = await tried(client, recipe, 'note', { variables: { item: 'rain' } })
  expect(one).toMatchObject({ status: 'succeeded', usage: { model_calls: 1 } })
  const all = await tried(client, recipe, 'each', { input_data: { items: ['rain', 'snow'] } })
  expect(all.output).toHaveLength(2)
  expect(all.usage.model_calls).toBe(2)
  const usage = await app.db
    .selectFrom('model_usage')
    .select(['run_id', 'provider'])
    .where('workspace_id', '=', client.workspaceId)
    .execute()
  expect(usage).toEqual(Array(3).fill({ run_id: null, provider: 'offline' }))
})

test('loops take a hundred items together, and the answer tells of the rest', async () => {
  const client = await app.signIn()
  const inner = {
    id: 'inner',
    kind: 'foreach',
    items: { $expr: 'input.items' },
    as: 'b',
    steps: [{ id: 'b', kind: 'transform', value: 1 }],
  }
  const recipe = await aRecipe(client, [
    { id: 'outer', kind: 'foreach', items: { $expr: 'input.items' }, as: 'a', concurrency: 1, steps: [inner] },
  ])
  const items = Array.from({ length: 60 }, (_, n) => n)
  const result = await tried(client, recipe, 'outer', { input_data: { items } })
  expect(result.output).toHaveLength(60)
  expect((result.output as unknown[][]).flat()).toHaveLength(40)
  expect(result.log[0]!.data).toMatchObject({
    level: 'warn',
    message: 'Only the first 40 of 60 items were taken.',
    path: 'outer/0/inner',
  })
})

test('two of a workspace run at a time, ten in all; more are told to come later', async () => {
  let open = () => {}
  const opened = new Promise<void>((resolve) => (open = resolve))
  let arrived = 0
  let allThere = () => {}
  const there = new Promise<void>((resolve) => (allThere = resolve))
  const server = await loopbackServer(async (_request, response) => {
    if (++arrived === 10) allThere()
    await opened
    response.end('{}')
  })
  const step = { id: 'call', kind: 'http', request: { method: 'GET', url: `http://127.0.0.1:${server.port}/` } }
  const clients = await Promise.all(Array.from({ length: 6 }, () => app.signIn()))
  const recipes = await Promise.all(clients.map((client) => aRecipe(client, [step])))
  const test = (n: number) => clients[n]!.post(`/api/workflow-recipes/${recipes[n]}/steps/call/test`, {})
  const running = [0, 0, 1, 1, 2, 2, 3, 3, 4, 4].map(test)
  await there
  for (const n of [0, 5]) {
    const refusal = await test(n)
    expect(refusal.status).toBe(429)
    expect(Number(refusal.headers.get('retry-after'))).toBeGreaterThan(0)
  }
  open()
  expect((await Promise.all(running)).map(({ status }) => status)).toEqual(Array(10).fill(200))
  expect((await test(0)).status).toBe(200)
})

test('a condition that does not hold skips it, and a wait is told, not waited for', async () => {
  const client = await app.signIn()
  const recipe = await aRecipe(client, [
    { id: 'maybe', kind: 'transform', when: 'input.go', value: 1 },
    { id: 'nap', kind: 'wait', duration: '8h' },
  ])
  expect(await tried(client, recipe, 'maybe', { input_data: { go: false } })).toMatchObject({ status: 'skipped' })
  expect(await tried(client, recipe, 'nap')).toMatchObject({ status: 'waiting', output: null })
})

test('what does not fit is refused with its place, and nothing is done', async () => {
  const client = await app.signIn()
  const recipe = await aRecipe(
    client,
    [
      {
        id: 'each',
        kind: 'foreach',
        items: [1],
        as: 'item',
        steps: [{ id: 'inner', kind: 'transform', value: { $expr: 'item' } }],
      },
      { id: 'ok', kind: 'approval', message: 'Go on?' },
      {
        id: 'maybe',
        kind: 'branch',
        cases: [{ when: 'true', steps: [{ id: 'paid', kind: 'wait', event: 'paid' }] }],
      },
    ],
    { inputs: { type: 'object', properties: { n: { type: 'integer' } } } },
  )
  expect(await refused(client, recipe, 'inner')).toEqual(['/variables/item'])
  expect(await refused(client, recipe, 'each', { outputs: { nothing: 1 }, variables: { x: 1 } })).toEqual([
    '/outputs/nothing',
    '/variables/x',
  ])
  expect(await refused(client, recipe, 'each', { input_data: { n: 'many' } })).toEqual(['/input_data/n'])
  for (const step of ['ok', 'paid', 'maybe']) expect(await refused(client, recipe, step)).toEqual([''])
  for (const path of [`${recipe}/steps/nothing`, 'nothing/steps/each'])
    expect((await client.post(`/api/workflow-recipes/${path}/test`)).status).toBe(404)
  const stranger = await app.signIn()
  expect((await stranger.post(`/api/workflow-recipes/${recipe}/steps/each/test`)).status).toBe(404)
  const missing = await client.post(`/api/workflow-recipes/${recipe}/steps/each/test`, { recipe_version: 7 })
  expect(missing.status).toBe(404)
})
