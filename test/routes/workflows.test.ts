import { describe, expect, test } from 'vitest'
import { createTestApp, type Client } from '../support/app.ts'
import { loopbackServer } from '../support/loopback-server.ts'
import { workOff } from '../support/workflows.ts'

const app = await createTestApp()
const { signIn, db } = app

interface Body {
  id: string
  status: string
  plan: number | null
  execution_id: string | null
  planning_execution_id: string | null
  recipe_id: string
  error: { kind: string } | null
  attention: string[]
  cost_usd: string | null
  version: number
}
interface PlanBody {
  number: number
  source: string
  definition: { name: string; steps: { id: string; kind: string; agent?: string }[] }
  assignments: { step_id: string; agent_slug: string | null; chosen_by: string }[]
}
const read = async <T>(response: Response | Promise<Response>): Promise<T> => (await (await response).json()) as T
const work = () => workOff(app.runtime)

async function aWorkflow(client: Client, more: object = {}): Promise<Body> {
  const response = await client.post('/api/workflows', { goal: 'Write a haiku about rain. Translate it.', ...more })
  expect(response.status, await response.clone().text()).toBe(202)
  return read<Body>(response)
}
const get = (client: Client, id: string) => read<Body>(client.get(`/api/workflows/${id}`))
const planOf = (client: Client, id: string) => read<PlanBody>(client.get(`/api/workflows/${id}/plan`))

test('a goal is planned, looked at, approved and carried out, and the result says who did what', async () => {
  const client = await signIn()
  const feed = `<rss version="2.0"><channel><title>News</title>${[1, 2, 3]
    .map((n) => `<item><guid>${n}</guid><title>Headline ${n}</title></item>`)
    .join('')}</channel></rss>`
  const { port } = await loopbackServer((_, response) =>
    response.writeHead(200, { 'content-type': 'application/rss+xml' }).end(feed),
  )
  await client.post('/api/agents', { name: 'Translator', description: 'Translates texts into other languages.' })
  await client.post('/api/agents', { name: 'Digest writer', description: 'Condenses articles into short summaries.' })
  const started = await client.post('/api/workflows', {
    goal: `Read http://127.0.0.1:${port}/feed.xml and summarize the first 2 items.`,
  })
  expect(started.status).toBe(202)
  const { id, status, planning_execution_id } = await read<Body>(started)
  expect(started.headers.get('location')).toBe(`/api/workflows/${id}`)
  expect(status).toBe('planning')
  await work()

  const planned = await get(client, id)
  expect(planned).toMatchObject({ status: 'awaiting_approval', plan: 1, execution_id: null, planning_execution_id })
  const plan = await planOf(client, id)
  expect(plan).toMatchObject({ number: 1, source: 'planner' })
  expect(plan.definition.steps.map(({ kind }) => kind)).toEqual(['http', 'agent'])
  expect(plan.assignments).toMatchObject([{ agent_slug: 'digest-writer', chosen_by: 'similarity' }])

  const approved = await client.post(`/api/workflows/${id}/approve`, { plan: 1 })
  expect(await read<Body>(approved)).toMatchObject({ status: 'running', approved_by: `key:${client.keyId}` })
  await work()
  const done = await get(client, id)
  expect(done).toMatchObject({ status: 'succeeded', error: null, cost_usd: '0', progress: null })
  const result = await read<{ output: string; steps: object[] }>(client.get(`/api/workflows/${id}/result`))
  expect(result).toMatchObject({ status: 'succeeded', output_execution_id: done.execution_id })
  expect(result.output).toContain('Headline')
  expect(result.steps).toMatchObject([
    { step_id: 'fetch', kind: 'http', status: 'succeeded', agent: null, models: [], cost_usd: '0' },
    {
      plan: 1,
      step_id: 'summarize',
      agent: { slug: 'digest-writer', version: 1 },
      assignment: { chosen_by: 'similarity' },
      models: [{ provider: 'offline', model: 'offline', calls: 1, simulated: true }],
      cost_usd: '0',
    },
  ])
  // Planner and plan are executions like all others, with what they were for.
  for (const [execution, purpose] of [
    [planning_execution_id, 'plan'],
    [done.execution_id, 'run'],
  ]) {
    expect(await read(client.get(`/api/executions/${execution}`))).toMatchObject({
      status: 'succeeded',
      trigger: { kind: 'workflow', workflow_id: id, purpose },
    })
  }
  expect(await read(client.get(`/api/workflow-recipes/${done.recipe_id}`))).toMatchObject({ version: 1 })
})

test('a plan that approves itself runs at once, but for one that reaches where nobody sent it', async () => {
  const client = await signIn()
  const { id } = await aWorkflow(client, { approval: 'auto' })
  await work()
  expect(await get(client, id)).toMatchObject({ status: 'succeeded', approved_by: null })
  // Only the goal's own texts name hosts here, so the planner's made-up address is one of the plan's edits.
  const waiting = await aWorkflow(client, { goal: 'Write a line.' })
  await work()
  await client.put(`/api/workflows/${waiting.id}/plan`, {
    steps: [{ id: 'a', kind: 'http', request: { method: 'GET', url: 'https://elsewhere.example/' } }],
  })
  expect(await get(client, waiting.id)).toMatchObject({ status: 'awaiting_approval', plan: 2 })
})

test('who may not run recipes may have nothing planned, and no plan approve itself', async () => {
  const owner = await signIn()
  const writer = await signIn({ workspace: owner.workspaceId, scopes: ['recipes:read', 'recipes:write'] })
  expect((await writer.post('/api/workflows', { goal: 'Write a line.' })).status).toBe(403)
  const { id } = await aWorkflow(owner)
  expect((await writer.post(`/api/workflows/${id}/duplicate`, {})).status).toBe(403)
  expect((await writer.patch(`/api/workflows/${id}`, { approval: 'auto' })).status).toBe(403)
  expect((await writer.post(`/api/workflows/${id}/approve`, {})).status).toBe(403)
})

describe('a plan', () => {
  test('is edited in the state that was seen, becomes the next one, and the one before stays readable', async () => {
    const client = await signIn()
    const { id } = await aWorkflow(client)
    await work()
    const seen = await client.get(`/api/workflows/${id}/plan`)
    const tag = seen.headers.get('etag')!
    const steps = [{ id: 'only', kind: 'transform', value: '{{ input.goal }}' }]
    const edited = await client.patch(`/api/workflows/${id}/plan`, { steps, output: null }, { 'if-match': tag })
    expect(edited.status, await edited.clone().text()).toBe(200)
    expect(await read(edited)).toMatchObject({ number: 2, source: 'edit', recipe_version: 2, definition: { steps } })
    expect((await client.patch(`/api/workflows/${id}/plan`, { steps }, { 'if-match': tag })).status).toBe(412)
    expect((await client.post(`/api/workflows/${id}/approve`, { plan: 1 })).status).toBe(409)
    const { items } = await read<{ items: PlanBody[] }>(client.get(`/api/workflows/${id}/plans`))
    expect(items.map(({ number, source }) => [number, source])).toEqual([
      [2, 'edit'],
      [1, 'planner'],
    ])
    expect(await read(client.get(`/api/workflows/${id}/plans/1`))).toEqual(await read(seen))
    await client.post(`/api/workflows/${id}/approve`, { plan: 2 })
    await work()
    expect(await read(client.get(`/api/workflows/${id}/result`))).toMatchObject({
      output: 'Write a haiku about rain. Translate it.',
    })
    expect((await client.put(`/api/workflows/${id}/plan`, { steps })).status).toBe(409)
  })

  test('that cannot be carried out is refused with every fault at its place', async () => {
    const client = await signIn()
    const { id } = await aWorkflow(client)
    await work()
    const response = await client.put(`/api/workflows/${id}/plan`, {
      inputs: {},
      steps: [
        { id: 'a', kind: 'agent', agent: 'nobody', prompt: 'x' },
        { id: 'b', kind: 'llm', prompt: '{{ steps.c.output }}' },
      ],
    })
    expect(response.status).toBe(422)
    const { errors } = await read<{ errors: { pointer: string }[] }>(response)
    expect(errors.map(({ pointer }) => pointer)).toEqual(['/inputs', '/steps/0/agent', '/steps/1/prompt'])
    expect((await planOf(client, id)).number).toBe(1)
  })

  test('is not there before it is made', async () => {
    const client = await signIn()
    const { id } = await aWorkflow(client)
    expect((await client.get(`/api/workflows/${id}/plan`)).status).toBe(404)
    expect((await client.get(`/api/workflows/${id}/plans/1`)).status).toBe(404)
    expect((await client.get(`/api/workflows/${id}/plans/first`)).status).toBe(404)
    expect((await client.post(`/api/workflows/${id}/approve`)).status).toBe(409)
  })
})

test('what cannot be planned is refused with every fault', async () => {
  const client = await signIn()
  const response = await client.post('/api/workflows', {
    goal: 'Write a line.',
    agents: ['nobody'],
    tools: ['calculator', 'sorcery'],
    model: { provider: 'nowhere', model: 'x' },
    context: { text: 'x'.repeat(70_000) },
  })
  expect(response.status).toBe(422)
  const { errors } = await read<{ errors: { pointer: string }[] }>(response)
  expect(errors.map(({ pointer }) => pointer).toSorted()).toEqual([
    '/agents/0',
    '/context',
    '/model/provider',
    '/tools/1',
  ])
  for (const body of [
    {},
    { goal: '  ' },
    { goal: 'x', budget_usd: 0 },
    { goal: 'x', budget_usd: '1e5' },
    { goal: 'x', extra: 1 },
  ])
    expect((await client.post('/api/workflows', body)).status, JSON.stringify(body)).toBe(422)
  expect(await read(client.get('/api/workflows'))).toMatchObject({ items: [] })
})

test('one Idempotency-Key makes one workflow, and one start of its plan', async () => {
  const client = await signIn()
  const key = { 'idempotency-key': crypto.randomUUID() }
  const send = () => client.post('/api/workflows', { goal: 'Write a line.' }, key)
  const [first, second] = [await send(), await send()]
  expect([first.status, second.status]).toEqual([202, 202])
  const { id } = await read<Body>(first)
  expect((await read<Body>(second)).id).toBe(id)
  expect((await client.post('/api/workflows', { goal: 'Write two.' }, key)).status).toBeGreaterThanOrEqual(400)
  await work()
  const approve = () => client.post(`/api/workflows/${id}/approve`, {}, key)
  expect([(await approve()).status, (await approve()).status]).toEqual([200, 200])
  await work()
  const { items } = await read<{ items: unknown[] }>(client.get('/api/executions'))
  expect(items).toHaveLength(2)
  expect(await get(client, id)).toMatchObject({ status: 'succeeded' })
})

test('agents and tools bound who gets the work', async () => {
  const client = await signIn()
  const make = (body: object) => client.post('/api/agents', body)
  await make({ name: 'Haiku writer', description: 'Writes haiku about rain.', tools: ['http_request'] })
  await make({ name: 'Bookkeeper', description: 'Keeps accounts.' })
  const free = await aWorkflow(client, { goal: 'Write a haiku about rain.' })
  const named = await aWorkflow(client, { goal: 'Write a haiku about rain.', agents: ['bookkeeper'] })
  const tools = await aWorkflow(client, { goal: 'Write a haiku about rain.', tools: ['calculator'] })
  await work()
  const slugs = async ({ id }: Body) => (await planOf(client, id)).assignments.map(({ agent_slug }) => agent_slug)
  expect(await slugs(free)).toEqual(['haiku-writer'])
  expect(await slugs(named)).toEqual(['bookkeeper'])
  expect(await slugs(tools)).toEqual([null])
})

describe('cancel', () => {
  test('turns a plan down', async () => {
    const client = await signIn()
    const { id } = await aWorkflow(client)
    await work()
    const answer = await client.post(`/api/workflows/${id}/cancel`, { reason: 'Too dear.' })
    expect(await read(answer)).toMatchObject({ status: 'canceled', error: { kind: 'canceled', detail: 'Too dear.' } })
    expect((await client.post(`/api/workflows/${id}/approve`)).status).toBe(409)
    expect((await client.post(`/api/workflows/${id}/cancel`)).status).toBe(409)
  })

  test('ends what is planned or runs, and its execution with it', async () => {
    const client = await signIn()
    const { id, planning_execution_id } = await aWorkflow(client)
    await client.post(`/api/workflows/${id}/cancel`)
    await work()
    expect(await get(client, id)).toMatchObject({ status: 'canceled', plan: null })
    expect(await read(client.get(`/api/executions/${planning_execution_id}`))).toMatchObject({ status: 'canceled' })

    const waiting = await aWorkflow(client, { goal: 'Wait 2 hours. Write a line.', approval: 'auto' })
    await work()
    const during = await get(client, waiting.id)
    expect(during).toMatchObject({
      status: 'running',
      progress: { purpose: 'run', status: 'waiting', steps_finished: 0, steps_known: 2, current: ['wait'] },
    })
    await client.post(`/api/executions/${during.execution_id}/cancel`, { reason: 'From elsewhere.' })
    await work()
    expect(await get(client, waiting.id)).toMatchObject({ status: 'canceled', error: { detail: 'From elsewhere.' } })
  })
})

test('a copy has the plan of the original and waits for approval', async () => {
  const client = await signIn()
  const { id } = await aWorkflow(client, { approval: 'auto', name: 'Rain', context: { mood: 'grey' } })
  await work()
  const response = await client.post(`/api/workflows/${id}/duplicate`)
  expect(response.status).toBe(202)
  const copy = await read<Body & { name: string; context: unknown }>(response)
  expect(copy).toMatchObject({
    status: 'awaiting_approval',
    plan: 1,
    name: 'Rain (copy)',
    context: { mood: 'grey' },
    cost_usd: '0',
  })
  expect(copy.recipe_id).not.toBe((await get(client, id)).recipe_id)
  expect((await planOf(client, copy.id)).definition).toEqual((await planOf(client, id)).definition)
  await client.post(`/api/workflows/${copy.id}/approve`)
  await work()
  expect(await get(client, copy.id)).toMatchObject({ status: 'succeeded' })
})

test('a workflow is deleted when it rests, with its recipe, and its executions stay', async () => {
  const client = await signIn()
  const { id } = await aWorkflow(client, { approval: 'auto' })
  expect((await client.del(`/api/workflows/${id}`)).status).toBe(409)
  await work()
  const { recipe_id, execution_id } = await get(client, id)
  const tag = (await client.get(`/api/workflows/${id}`)).headers.get('etag')!
  expect((await client.patch(`/api/workflows/${id}`, { name: 'Other' }, { 'if-match': tag })).status).toBe(200)
  expect((await client.del(`/api/workflows/${id}`, { 'if-match': tag })).status).toBe(412)
  expect((await client.del(`/api/workflows/${id}`)).status).toBe(204)
  expect((await client.get(`/api/workflows/${id}`)).status).toBe(404)
  expect((await client.get(`/api/workflow-recipes/${recipe_id}`)).status).toBe(404)
  expect((await client.get(`/api/executions/${execution_id}`)).status).toBe(200)
})

test('lists page newest first, filter, and show the open ones with where they stand', async () => {
  const client = await signIn()
  const done = await aWorkflow(client, { approval: 'auto', goal: 'Write a line.' })
  await work()
  const open = await aWorkflow(client, { goal: 'Find 100% of it_all.' })
  const page = await read<{ items: Body[]; next_cursor: string }>(client.get('/api/workflows?limit=1'))
  expect(page.items.map(({ id }) => id)).toEqual([open.id])
  const next = await read<{ items: Body[] }>(client.get(`/api/workflows?limit=1&cursor=${page.next_cursor}`))
  expect(next.items.map(({ id }) => id)).toEqual([done.id])
  const ids = async (query: string) =>
    (await read<{ items: Body[] }>(client.get(`/api/workflows?${query}`))).items.map(({ id }) => id)
  expect(await ids('status=succeeded')).toEqual([done.id])
  expect(await ids('q=100%25')).toEqual([open.id])
  expect(await ids('q=%25')).toEqual([open.id])
  expect(await read(client.get('/api/workflows/active'))).toMatchObject({
    items: [
      {
        id: open.id,
        status: 'planning',
        progress: { purpose: 'plan', status: 'queued', steps_finished: 0, steps_known: 1 },
      },
    ],
    paused: null,
  })
  expect(await read((await signIn()).get('/api/workflows'))).toEqual({ items: [], next_cursor: null })
})

test('the dashboard counts what is there, and says null where nothing was measured', async () => {
  const client = await signIn()
  expect(await read(client.get('/api/workflows/stats/dashboard'))).toEqual({
    days: 30,
    paused: null,
    total: 0,
    by_status: { planning: 0, awaiting_approval: 0, running: 0, succeeded: 0, failed: 0, canceled: 0 },
    success_rate: null,
    planning_ms: { p50: null, p95: null },
    duration_ms: { p50: null, p95: null },
    replans: 0,
    edited_plans: 0,
    mean_steps: null,
    cost_usd: null,
    today: { created: 0, succeeded: 0, failed: 0, canceled: 0 },
    trend: [],
  })
  await aWorkflow(client, { approval: 'auto' })
  const second = await aWorkflow(client)
  await work()
  await client.post(`/api/workflows/${second.id}/cancel`)
  await aWorkflow(client)
  const stats = await read<{ trend: { created: number }[]; duration_ms: { p50: number } }>(
    client.get('/api/workflows/stats/dashboard'),
  )
  expect(stats).toMatchObject({
    total: 3,
    by_status: { planning: 1, succeeded: 1, canceled: 1 },
    success_rate: 1,
    mean_steps: 2,
    cost_usd: '0',
    today: { created: 3, succeeded: 1, canceled: 1 },
  })
  expect(stats.duration_ms.p50).toBeGreaterThanOrEqual(0)
  expect(stats.trend).toHaveLength(1)
})

test('while the workspace is paused no workflow goes on, and afterwards all do; other workspaces notice nothing', async () => {
  const client = await signIn()
  const other = await signIn()
  const waiting = await aWorkflow(client)
  expect(await read(client.post('/api/workflows/pause', { reason: 'Maintenance' }))).toMatchObject({
    paused: { reason: 'Maintenance', paused_by: `key:${client.keyId}` },
  })
  // A second one keeps the first one's reason.
  expect(await read(client.post('/api/workflows/pause'))).toMatchObject({ paused: { reason: 'Maintenance' } })
  expect(await read(client.get('/api/workflows/active'))).toMatchObject({ paused: { reason: 'Maintenance' } })
  const meanwhile = await aWorkflow(client)
  const elsewhere = await aWorkflow(other)
  await work()
  for (const { id } of [waiting, meanwhile])
    expect(await get(client, id)).toMatchObject({ status: 'planning', plan: null })
  expect(await get(other, elsewhere.id)).toMatchObject({ status: 'awaiting_approval' })
  expect(await read(client.post('/api/workflows/resume'))).toEqual({ paused: null })
  await work()
  for (const { id } of [waiting, meanwhile])
    expect(await get(client, id)).toMatchObject({ status: 'awaiting_approval' })
})

test("another workspace's workflow is none", async () => {
  const { id } = await aWorkflow(await signIn())
  await work()
  const stranger = await signIn()
  for (const path of ['', '/plan', '/plans', '/plans/1', '/result'])
    expect((await stranger.get(`/api/workflows/${id}${path}`)).status, path).toBe(404)
  for (const path of ['/approve', '/cancel', '/duplicate'])
    expect((await stranger.post(`/api/workflows/${id}${path}`)).status, path).toBe(404)
  expect((await stranger.put(`/api/workflows/${id}/plan`, { steps: [] })).status).toBe(404)
  expect((await stranger.patch(`/api/workflows/${id}`, { name: 'Mine' })).status).toBe(404)
  expect((await stranger.del(`/api/workflows/${id}`)).status).toBe(404)
  expect(await db.selectFrom('workflows').select('name').where('id', '=', id).execute()).toHaveLength(1)
})
