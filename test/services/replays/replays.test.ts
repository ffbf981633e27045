import { expect, onTestFinished, test } from 'vitest'
import { replaysTick } from '../../../src/services/replays/tick.ts'
import { engineOf, runsService } from '../../../src/services/runs/index.ts'
import { createTestApp, type Client } from '../../support/app.ts'
import { loopbackServer } from '../../support/loopback-server.ts'
import { startProviderServer } from '../../support/provider-server.ts'

const app = await createTestApp()
const offline = { provider: 'offline', model: 'offline' }

interface Step {
  path: string
  verdict: string
  called: boolean
  assumed: boolean
  input_changes: { pointer: string; from: unknown; to: unknown }[]
  output_changes: { pointer: string; from: unknown; to: unknown }[]
}
interface Compared {
  execution_id: string
  status: string
  verdict: string | null
  report: { steps: Step[]; counts: Record<string, number>; output_is_same: boolean | null; stopped_at: string | null }
  error: { kind: string } | null
}

async function work(): Promise<void> {
  await runsService.tick(app.runtime)
  await engineOf(app.runtime).idle()
}
async function aRecipe(client: Client, steps: unknown[]): Promise<string> {
  const answer = await client.post('/api/workflow-recipes', { name: 'Compared', steps })
  expect(answer.status).toBe(201)
  return ((await answer.json()) as { id: string }).id
}
async function ran(client: Client, recipe: string, input: object = {}): Promise<string> {
  const answer = await client.post(`/api/workflow-recipes/${recipe}/execute`, { input_data: input })
  await work()
  return ((await answer.json()) as { id: string }).id
}
const change = (client: Client, recipe: string, steps: unknown[]) =>
  client.patch(`/api/workflow-recipes/${recipe}`, { steps })
async function replayed(
  client: Client,
  body: object,
): Promise<{ replay: { id: string; status: string }; items: Compared[] }> {
  const answer = await client.post('/api/executions/replays', body)
  expect(answer.status).toBe(202)
  const { id } = (await answer.json()) as { id: string }
  expect(answer.headers.get('location')).toBe(`/api/executions/replays/${id}`)
  await replaysTick(app.runtime)
  const replay = (await (await client.get(`/api/executions/replays/${id}`)).json()) as { id: string; status: string }
  const { items } = (await (await client.get(`/api/executions/replays/${id}/executions`)).json()) as {
    items: Compared[]
  }
  return { replay, items }
}

/** A server that counts; nothing of a replay may ever reach it. */
async function counter() {
  const seen: string[] = []
  const server = await loopbackServer((request, response) => {
    seen.push(`${request.method} ${request.url}`)
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ n: seen.length }))
  })
  return { seen, url: `http://127.0.0.1:${server.port}` }
}
const get = (id: string, url: string) => ({ id, kind: 'http', request: { method: 'GET', url } })

test('unchanged steps give their recorded answers, and only what was changed is different', async () => {
  const client = await app.signIn()
  const { seen, url } = await counter()
  const steps = (factor: number) => [
    get('fetch', `${url}/a?n={{ input.n }}`),
    { id: 'ask', kind: 'llm', model: offline, prompt: 'What of {{ steps.fetch.output.body.n }}?' },
    {
      id: 'each',
      kind: 'foreach',
      items: { $expr: '[1, 2]' },
      as: 'i',
      steps: [{ id: 'times', kind: 'transform', value: { $expr: `i * ${factor}` } }],
    },
  ]
  const recipe = await aRecipe(client, steps(2))
  const runs = [await ran(client, recipe, { n: 1 }), await ran(client, recipe, { n: 2 })]
  expect(seen).toHaveLength(2)
  const same = await replayed(client, { recipe })
  expect(same.replay).toMatchObject({ status: 'finished', total: 2, compared: 2, same: 2, different: 0, failed: 0 })
  expect(same.items.map(({ execution_id }) => execution_id)).toEqual(runs.toReversed())
  expect(same.items[0]!.report).toMatchObject({ steps: [], output_is_same: true, stopped_at: null })

  expect((await change(client, recipe, steps(3))).status).toBe(200)
  const different = await replayed(client, { recipe, last: 1 })
  expect(different.replay).toMatchObject({
    recipe_version: 2,
    total: 1,
    same: 0,
    different: 1,
    cost_usd: { spent: '0' },
  })
  const { report, verdict } = different.items[0]!
  expect(verdict).toBe('different')
  expect(report.steps.map((step) => [step.path, step.verdict])).toEqual([
    ['each', 'changed'],
    ['each/0/times', 'changed'],
    ['each/1/times', 'changed'],
  ])
  expect(report.steps[2]!.output_changes).toEqual([{ op: 'replace', pointer: '', from: 4, to: 6 }])
  expect(report.counts).toMatchObject({ same: 2, changed: 3, would_call: 0 })
  // Not one request more than the two runs have made.
  expect(seen).toHaveLength(2)
  expect(await (await client.get('/api/executions')).json()).toMatchObject({ items: [{}, {}] })
})

test('a step that would go out with something else is told of and not sent; what follows takes its old answer', async () => {
  const client = await app.signIn()
  const { seen, url } = await counter()
  const steps = (path: string) => [
    get('first', `${url}/first`),
    {
      id: 'send',
      kind: 'http',
      request: { method: 'POST', url: `${url}${path}`, body: { n: { $expr: 'steps.first.output.body.n' } } },
    },
    { id: 'after', kind: 'transform', value: { $expr: 'steps.send.output.status' } },
  ]
  const recipe = await aRecipe(client, steps('/old'))
  await ran(client, recipe)
  await change(client, recipe, steps('/new'))
  const { items } = await replayed(client, { recipe })
  const { report } = items[0]!
  expect(report.steps).toMatchObject([
    { path: 'send', verdict: 'would_call', called: false, status: { recorded: 'succeeded', replayed: null } },
  ])
  expect(report.steps[0]!.input_changes).toMatchObject([
    { op: 'replace', pointer: '/request/url', from: `${url}/old`, to: `${url}/new` },
  ])
  expect(report.counts).toMatchObject({ same: 2, would_call: 1 })
  expect(seen).toEqual(['GET /first', 'POST /old'])
})

test('of a graph, what runs beside a step that was not sent builds on nothing assumed', async () => {
  const client = await app.signIn()
  const { url } = await counter()
  const steps = (path: string, word: string) => [
    get('send', `${url}${path}`),
    { ...get('beside', `${url}/beside`), needs: [] },
    { id: 'after', kind: 'transform', needs: ['send'], value: [word, { $expr: 'steps.send.output.status' }] },
    { id: 'apart', kind: 'transform', needs: ['beside'], value: [word, { $expr: 'steps.beside.output.status' }] },
  ]
  const recipe = await aRecipe(client, steps('/old', 'one'))
  await ran(client, recipe)
  await change(client, recipe, steps('/new', 'two'))
  const { items } = await replayed(client, { recipe })
  const told = items[0]!.report.steps.map(({ path, verdict, assumed }) => [path, { verdict, assumed }])
  expect(Object.fromEntries(told)).toEqual({
    send: { verdict: 'would_call', assumed: false },
    after: { verdict: 'changed', assumed: true },
    apart: { verdict: 'changed', assumed: false },
  })
  expect(items[0]!.report.counts).toMatchObject({ same: 1 })
})

test('a new step with an effect ends the comparison there, for nobody knows what it would give', async () => {
  const client = await app.signIn()
  const { seen, url } = await counter()
  const recipe = await aRecipe(client, [get('a', `${url}/a`), { id: 'z', kind: 'transform', value: 1 }])
  await ran(client, recipe)
  await change(client, recipe, [get('a', `${url}/a`), get('b', `${url}/b`), { id: 'z', kind: 'transform', value: 1 }])
  const { replay, items } = await replayed(client, { recipe })
  expect(replay).toMatchObject({ unknown: 1 })
  expect(items[0]).toMatchObject({ verdict: 'unknown', report: { stopped_at: 'b', output_is_same: null } })
  expect(items[0]!.report.steps.map(({ path, verdict }) => [path, verdict])).toEqual([
    ['z', 'not_reached'],
    ['b', 'would_call'],
  ])
  expect(seen).toEqual(['GET /a'])
})

test('another model is asked only where that is wanted; its cost is told apart from what was recorded', async () => {
  const client = await app.signIn()
  const recipe = await aRecipe(client, [
    { id: 'ask', kind: 'llm', model: { ...offline, temperature: 0 }, prompt: 'Hello {{ input.name }}' },
    { id: 'after', kind: 'transform', value: { $expr: 'steps.ask.output.text' } },
  ])
  const run = await ran(client, recipe, { name: 'you' })
  const other = { ...offline, temperature: 1 }
  const usage = async () =>
    app.db.selectFrom('model_usage').select('run_id').where('workspace_id', '=', client.workspaceId).execute()
  const told = await replayed(client, { recipe, model: other })
  expect(told.items[0]!.report.steps).toMatchObject([{ path: 'ask', verdict: 'would_call', called: false }])
  expect(await usage()).toEqual([{ run_id: run }])

  const asked = await replayed(client, { recipe, model: other, call_models: true })
  expect(asked.items[0]!.report.counts['would_call']).toBe(0)
  expect(asked.items[0]).toMatchObject({ status: 'compared' })
  expect((await usage()).toSorted((a, b) => (a.run_id === null ? 1 : b.run_id === null ? -1 : 0))).toEqual([
    { run_id: run },
    { run_id: null },
  ])
})

test('an agent that is asked anew gets the recorded results of the tools that it calls alike, and calls no other', async () => {
  const client = await app.signIn()
  const { seen, url } = await counter()
  const models = await startProviderServer()
  onTestFinished(() => models.close())
  const model = { provider: 'openai-compatible', model: 'scripted', base_url: models.baseUrl('openai-compatible') }
  const calls = (path: string) => ({
    kind: 'answer' as const,
    calls: [{ id: 'c1', name: 'http_request', args: JSON.stringify({ method: 'POST', url: `${url}${path}` }) }],
  })
  const says = (text: string) => ({ kind: 'answer' as const, text: [text] })
  const agent = await client.post('/api/agents', { name: 'Caller', slug: 'caller', model, tools: ['http_request'] })
  expect(agent.status).toBe(201)
  const recipe = await aRecipe(client, [{ id: 'ask', kind: 'agent', agent: 'caller', prompt: 'Do it.' }])
  models.script(calls('/one'), says('Done.'))
  await ran(client, recipe)
  expect(seen).toEqual(['POST /one'])

  const other = { ...model, temperature: 1 }
  models.script(calls('/one'), says('Done otherwise.'))
  const alike = await replayed(client, { recipe, model: other, call_models: true })
  expect(alike.items[0]!.report.steps).toMatchObject([{ path: 'ask', verdict: 'changed', called: true }])
  expect(alike.items[0]!.report.steps[0]!.output_changes).toContainEqual({
    op: 'replace',
    pointer: '/text',
    from: 'Done.',
    to: 'Done otherwise.',
  })
  models.script(calls('/two'), says('Never said.'))
  const unlike = await replayed(client, { recipe, model: other, call_models: true })
  expect(unlike.items[0]!.report.steps).toMatchObject([{ path: 'ask', verdict: 'would_call' }])
  expect(seen).toEqual(['POST /one'])
})

test('branches, failures that are dealt with and cut-off runs are gone through as they went', async () => {
  const client = await app.signIn()
  const { url } = await counter()
  const steps = [
    { id: 'bad', kind: 'http', request: { method: 'GET', url: 'http://127.0.0.1:1/' }, on_error: 'continue' },
    {
      id: 'route',
      kind: 'branch',
      cases: [{ when: 'steps.bad.status == "failed"', steps: [get('rescue', `${url}/rescue`)] }],
      default: [{ id: 'fine', kind: 'transform', value: 1 }],
    },
    { id: 'end', kind: 'fail', message: 'as planned: {{ steps.rescue.output.status }}' },
  ]
  const recipe = await aRecipe(client, steps)
  await ran(client, recipe)
  const { items } = await replayed(client, { recipe })
  expect(items[0]!.report).toMatchObject({ steps: [], status: { recorded: 'failed', replayed: 'failed' } })
  expect(items[0]!.verdict).toBe('same')
})

test('one key makes one replay; what cannot be compared is refused, and a canceled one is left', async () => {
  const client = await app.signIn()
  const recipe = await aRecipe(client, [{ id: 'one', kind: 'transform', value: 1 }])
  const create = (body: object, headers = {}) => client.post('/api/executions/replays', body, headers)
  expect((await create({ recipe })).status).toBe(409)
  const run = await ran(client, recipe)
  const key = { 'idempotency-key': crypto.randomUUID() }
  const answers = await Promise.all([create({ recipe }, key), create({ recipe }, key)])
  const [first, second] = (await Promise.all(answers.map((answer) => answer.json()))) as { id: string }[]
  expect(first!.id).toBe(second!.id)
  expect((await create({ recipe: 'nothing' })).status).toBe(404)
  const versions = await create({ recipe, recipe_version: 5 })
  expect(await versions.json()).toMatchObject({ status: 422, errors: [{ pointer: '/recipe_version' }] })
  const foreign = await create({ recipe, execution_ids: [run, crypto.randomUUID()] })
  expect(await foreign.json()).toMatchObject({ status: 422, errors: [{ pointer: '/execution_ids/1' }] })

  const canceled = await client.post(`/api/executions/replays/${first!.id}/cancel`)
  expect([canceled.status, ((await canceled.json()) as { status: string }).status]).toEqual([202, 'canceled'])
  await replaysTick(app.runtime)
  const page = (await (await client.get(`/api/executions/replays/${first!.id}/executions`)).json()) as {
    items: Compared[]
  }
  expect(page.items).toMatchObject([{ execution_id: run, status: 'pending', report: null }])

  const stranger = await app.signIn()
  for (const path of ['', '/executions'])
    expect((await stranger.get(`/api/executions/replays/${first!.id}${path}`)).status).toBe(404)
  expect((await stranger.post(`/api/executions/replays/${first!.id}/cancel`)).status).toBe(404)
  expect((await stranger.post('/api/executions/replays', { recipe })).status).toBe(404)
  expect(await (await stranger.get('/api/executions/replays')).json()).toMatchObject({ items: [] })
})

test('a comparison that its process did not survive is done again, and given up after the third', async () => {
  const client = await app.signIn()
  const recipe = await aRecipe(client, [{ id: 'one', kind: 'transform', value: 1 }])
  await ran(client, recipe)
  const answer = await client.post('/api/executions/replays', { recipe })
  const { id } = (await answer.json()) as { id: string }
  const set = (values: object) => app.db.updateTable('replay_runs').set(values).where('replay_id', '=', id).execute()
  await set({ lease_until: new Date(Date.now() + 60_000), attempts: 1 })
  await replaysTick(app.runtime)
  expect(await (await client.get(`/api/executions/replays/${id}`)).json()).toMatchObject({ compared: 0 })
  await set({ lease_until: new Date(Date.now() - 1_000), attempts: 3 })
  await replaysTick(app.runtime)
  expect(await (await client.get(`/api/executions/replays/${id}`)).json()).toMatchObject({
    status: 'finished',
    failed: 1,
  })
  const page = (await (await client.get(`/api/executions/replays/${id}/executions`)).json()) as { items: Compared[] }
  expect(page.items[0]!.error).toMatchObject({ kind: 'gave_up' })
})

test('a long replay holds up no other: they take turns', async () => {
  const long = await app.signIn()
  const short = await app.signIn()
  const begin = async (client: Client, runs: number) => {
    const recipe = await aRecipe(client, [{ id: 'one', kind: 'transform', value: 1 }])
    for (let i = 0; i < runs; i++) await ran(client, recipe)
    const answer = await client.post('/api/executions/replays', { recipe })
    return ((await answer.json()) as { id: string }).id
  }
  const first = await begin(long, 3)
  const second = await begin(short, 1)
  await replaysTick(app.runtime)
  const endOf = async (replay: string, ordinal: number) =>
    (
      await app.db
        .selectFrom('replay_runs')
        .select('finished_at')
        .where('replay_id', '=', replay)
        .where('ordinal', '=', ordinal)
        .executeTakeFirstOrThrow()
    ).finished_at!.getTime()
  expect(await endOf(second, 0)).toBeLessThanOrEqual(await endOf(first, 1))
})
