import { describe, expect, test } from 'vitest'
import { uuidv7 } from '../../src/lib/ids.ts'
import { Engine, engineOf, runsService } from '../../src/services/runs/index.ts'
import { createTestApp, type Client } from '../support/app.ts'

const app = await createTestApp()
const { db, runtime, signIn } = app

interface AgentBody {
  id: string
  slug: string
  version: number
  [field: string]: unknown
}
const read = async <T = AgentBody>(response: Response): Promise<T> => (await response.json()) as T
const faultsOf = async (response: Response) => {
  const { errors } = await read<{ errors: { pointer: string }[] }>(response)
  return errors.map(({ pointer }) => pointer).toSorted()
}
const offline = { provider: 'offline', model: 'offline' }

describe('agents', () => {
  test('are made, read by slug and by id, and listed newest first', async () => {
    const client = await signIn()
    const made = await client.post('/api/agents', {
      name: 'Rain Reporter',
      system_prompt: 'You report rain.',
      model: { ...offline, temperature: 0 },
      tools: ['now'],
      limits: { max_rounds: 3, timeout: '2m' },
    })
    expect(made.status).toBe(201)
    const agent = await read(made)
    expect(made.headers.get('location')).toBe('/api/agents/rain-reporter')
    expect(agent).toMatchObject({ slug: 'rain-reporter', version: 1, tools: ['now'], limits: { max_rounds: 3 } })
    expect(await read(await client.get('/api/agents/rain-reporter'))).toEqual(agent)
    expect(await read(await client.get(`/api/agents/${agent.id}`))).toEqual(agent)

    const second = await read(await client.post('/api/agents', { name: 'Rain Reporter' }))
    expect(second.slug).toBe('rain-reporter-2')
    const list = await read<{ items: AgentBody[]; next_cursor: string }>(await client.get('/api/agents?limit=1'))
    expect(list.items.map(({ slug }) => slug)).toEqual(['rain-reporter-2'])
    const rest = await read<{ items: AgentBody[]; next_cursor: null }>(
      await client.get(`/api/agents?limit=1&cursor=${list.next_cursor}`),
    )
    expect(rest.items).toEqual([agent])
    expect(rest.next_cursor).toBeNull()
  })

  test('are refused with every fault at once, by pointer', async () => {
    const client = await signIn()
    const shape = await client.post('/api/agents', {
      name: '',
      model: { provider: 'openai' },
      limits: { max_rounds: 0 },
    })
    expect(shape.status).toBe(422)
    expect(await faultsOf(shape)).toEqual(['/limits/max_rounds', '/model/model', '/name'])

    const meaning = await client.post('/api/agents', {
      name: 'X',
      slug: 'Not A Slug',
      tools: ['now', 'teleport', 'now'],
      model: {
        provider: 'acme',
        model: 'm',
        fallbacks: [{ provider: 'openai', model: 'm', base_url: 'https://models.example' }],
      },
      limits: { timeout: 'soon' },
    })
    expect(meaning.status).toBe(422)
    expect(await faultsOf(meaning)).toEqual([
      '/limits/timeout',
      '/model/fallbacks/0/base_url',
      '/model/provider',
      '/slug',
      '/tools/1',
      '/tools/2',
    ])

    const both = { name: '', tools: ['teleport'], model: { provider: 'acme', model: 'm' }, limits: { max_rounds: 0 } }
    const pointers = ['/limits/max_rounds', '/model/provider', '/name', '/tools/0']
    expect(await faultsOf(await client.post('/api/agents', both))).toEqual(pointers)
    const { id } = await read(await client.post('/api/agents', { name: 'X' }))
    expect(await faultsOf(await client.patch(`/api/agents/${id}`, both))).toEqual(pointers)
    expect((await client.patch(`/api/agents/${id}`, { limits: { timeout: null } })).status).toBe(200)
  })

  test('never fall back to the simulated model', async () => {
    const client = await signIn()
    const fallbacks = [offline]
    const made = await client.post('/api/agents', { name: 'X', model: { provider: 'openai', model: 'm', fallbacks } })
    expect(await faultsOf(made)).toEqual(['/model/fallbacks/0/provider'])
  })

  test('keep a slug to themselves within their workspace only', async () => {
    const client = await signIn()
    expect((await client.post('/api/agents', { name: 'A', slug: 'taken' })).status).toBe(201)
    expect((await client.post('/api/agents', { name: 'B', slug: 'taken' })).status).toBe(409)
    expect((await (await signIn()).post('/api/agents', { name: 'B', slug: 'taken' })).status).toBe(201)
    const other = await read(await client.post('/api/agents', { name: 'B', slug: 'other' }))
    expect((await client.patch(`/api/agents/${other.id}`, { slug: 'taken' })).status).toBe(409)
  })

  test('change by merge, with a new version for every real change', async () => {
    const client = await signIn()
    const made = await client.post('/api/agents', {
      name: 'A',
      tools: ['now'],
      limits: { max_rounds: 3, timeout: '1m' },
    })
    const { id } = await read(made)
    const changed = await read(
      await client.patch(`/api/agents/${id}`, {
        system_prompt: 'Hi.',
        limits: { timeout: null, max_output_tokens: 9 },
      }),
    )
    expect(changed).toMatchObject({
      version: 2,
      name: 'A',
      tools: ['now'],
      system_prompt: 'Hi.',
      limits: { max_rounds: 3, max_output_tokens: 9 },
    })
    expect(changed['limits']).not.toHaveProperty('timeout')
    expect((await read(await client.patch(`/api/agents/${id}`, { system_prompt: 'Hi.' }))).version).toBe(2)
    expect((await read(await client.put(`/api/agents/${id}`, { description: 'B' }))).version).toBe(3)
    const cleared = await read(await client.patch(`/api/agents/${id}`, { system_prompt: null, model: offline }))
    expect(cleared).toMatchObject({ version: 4, system_prompt: null, model: offline })
    expect(await faultsOf(await client.patch(`/api/agents/${id}`, { tools: ['nope'] }))).toEqual(['/tools/0'])
  })

  test('are deleted so that their slug is free again', async () => {
    const client = await signIn()
    await client.post('/api/agents', { name: 'A', slug: 'gone' })
    expect((await client.del('/api/agents/gone')).status).toBe(204)
    expect((await client.get('/api/agents/gone')).status).toBe(404)
    expect((await client.del('/api/agents/gone')).status).toBe(404)
    expect((await client.post('/api/agents', { name: 'A', slug: 'gone' })).status).toBe(201)
  })

  test('are copied with everything but their name', async () => {
    const client = await signIn()
    const made = await client.post('/api/agents', { name: 'A', slug: 'one', tools: ['now'], model: offline })
    const agent = await read(made)
    const copy = await client.post('/api/agents/one/clone')
    expect(copy.status).toBe(201)
    expect(await read(copy)).toMatchObject({
      name: 'A (copy)',
      slug: 'a-copy',
      version: 1,
      tools: ['now'],
      model: offline,
    })
    expect(await read(await client.post(`/api/agents/${agent.id}/clone`, { name: 'B', slug: 'bee' }))).toMatchObject({
      name: 'B',
      slug: 'bee',
    })
  })

  test('of another workspace answer as agents that do not exist', async () => {
    const owner = await signIn()
    const agent = await read(await owner.post('/api/agents', { name: 'A', slug: 'mine' }))
    const stranger = await signIn()
    for (const ref of [agent.id, 'mine', uuidv7()]) {
      const answers = await Promise.all([
        stranger.get(`/api/agents/${ref}`),
        stranger.patch(`/api/agents/${ref}`, { name: 'B' }),
        stranger.del(`/api/agents/${ref}`),
        stranger.post(`/api/agents/${ref}/execute`, { prompt: 'Hi.' }),
        stranger.post(`/api/agents/${ref}/clone`),
        stranger.get(`/api/agents/${ref}/stats`),
      ])
      expect(answers.map(({ status }) => status)).toEqual([404, 404, 404, 404, 404, 404])
    }
    expect((await read(await owner.get('/api/agents/mine'))).version).toBe(1)
  })

  test('need the permission for what is done with them', async () => {
    const reader = await signIn({ scopes: ['agents:read'] })
    expect((await reader.get('/api/agents')).status).toBe(200)
    expect((await reader.post('/api/agents', { name: 'A' })).status).toBe(403)
    const writer = await signIn({ scopes: ['agents:write'], workspace: reader.workspaceId })
    expect((await writer.post('/api/agents', { name: 'A' })).status).toBe(201)
    expect((await writer.post('/api/agents/agent-a/execute', { prompt: 'Hi.' })).status).toBe(403)
    expect((await writer.get('/api/agents/agent-a')).status).toBe(403)
    expect((await app.app.request('/api/agents')).status).toBe(401)
  })
})

describe('executing an agent', () => {
  const engine = new Engine(runtime, { owner: 'test', concurrency: 10 })
  /** Lets the engine do all the work there is. */
  const work = async () => {
    while ((await engine.claim()) > 0 || engine.inFlight > 0) await engine.idle()
  }
  const runOf = (id: string) =>
    db.selectFrom('runs').select(['state', 'output', 'error', 'trigger']).where('id', '=', id).executeTakeFirstOrThrow()

  test('queues a run of one step that the engine carries out, tools included, and measures it', async () => {
    const client = await signIn()
    const agent = await read(
      await client.post('/api/agents', { name: 'Counter', model: offline, tools: ['calculator'] }),
    )
    const empty = await read<object>(await client.get('/api/agents/counter/stats'))
    expect(empty).toMatchObject({
      runs: 0,
      success_rate: null,
      latency_ms: { p50: null, p95: null },
      tokens: { input: null, output: null },
      cost_usd: null,
    })

    const started = await client.post('/api/agents/counter/execute', {
      prompt: 'Please call calculator {"expression": "6 * 7"} {{ not.rendered }}',
      context: { note: 'data' },
    })
    expect(started.status).toBe(202)
    const run = await read<{ id: string; execution_id: string; agent_id: string; status: string }>(started)
    expect(run).toEqual({ id: run.id, execution_id: run.id, agent_id: agent.id, status: 'queued' })
    expect(started.headers.get('location')).toBe(`/api/executions/${run.id}`)

    await work()
    expect(await runOf(run.id)).toMatchObject({
      state: 'succeeded',
      trigger: { kind: 'agent', agent_id: agent.id },
      output: { text: 'calculator: {"exact":true,"result":"42"}', rounds: 2, simulated: true, provider: 'offline' },
    })
    const calls = await db
      .selectFrom('run_calls')
      .select(['key', 'kind'])
      .where('run_id', '=', run.id)
      .orderBy('key')
      .execute()
    expect(calls.map(({ kind }) => kind)).toEqual(['model', 'tool', 'model'])
    const usage = await db.selectFrom('model_usage').selectAll().where('run_id', '=', run.id).execute()
    expect(usage).toHaveLength(2)
    expect(usage[0]).toMatchObject({ agent_id: agent.id, key_id: client.keyId, simulated: true, step_path: 'agent' })

    expect(await read<object>(await client.get('/api/agents/counter/stats?days=1'))).toMatchObject({
      runs: 1,
      succeeded: 1,
      failed: 0,
      success_rate: 1,
      latency_ms: { p50: expect.any(Number), p95: expect.any(Number) },
      model_calls: 2,
      cost_usd: '0',
    })
  })

  test('answers a repeated Idempotency-Key with the run that it made before', async () => {
    const client = await signIn()
    await client.post('/api/agents', { name: 'A', model: offline })
    const send = (prompt: string) => client.post('/api/agents/agent-a/execute', { prompt }, { 'idempotency-key': 'k1' })
    const [first, second] = await Promise.all([send('Hi.'), send('Hi.')])
    expect((await read<{ id: string }>(second)).id).toBe((await read<{ id: string }>(first)).id)
    expect(first.status).toBe(202)
    expect((await send('Something else.')).status).toBe(422)
  })

  test('takes exactly one of prompt and input', async () => {
    const client = await signIn()
    await client.post('/api/agents', { name: 'A', model: offline })
    expect((await client.post('/api/agents/agent-a/execute', { input: 'Hi.' })).status).toBe(202)
    for (const body of [{}, { prompt: 'a', input: 'b' }]) {
      const refused = await client.post('/api/agents/agent-a/execute', body)
      expect([refused.status, await faultsOf(refused)]).toEqual([422, ['/prompt']])
    }
    const model = { provider: 'nobody', model: 'm' }
    expect(await faultsOf(await client.post('/api/agents/agent-a/execute', { prompt: 'a', model }))).toEqual([
      '/model/provider',
    ])
  })
})

test('gives an agent files of the workspace, and refuses those of others at once', async () => {
  const client = await app.signIn()
  const upload = async (by: Client) => {
    const headers = { 'content-type': 'text/plain', authorization: `Bearer ${by.key}` }
    const response = await app.app.request('/api/files?name=n.txt', { method: 'POST', headers, body: 'Rain.' })
    return ((await response.json()) as { handle: { $file: string } }).handle
  }
  const { slug } = (await (await client.post('/api/agents', { name: 'Reader' })).json()) as { slug: string }
  const attached = async (handle: { $file: string }) =>
    client.post(`/api/agents/${slug}/execute`, { prompt: 'Sum up.', attachments: [{ $file: handle.$file }] })
  expect((await attached(await upload(await app.signIn()))).status).toBe(422)
  const { id } = (await (await attached(await upload(client))).json()) as { id: string }
  await runsService.tick(app.runtime)
  await engineOf(app.runtime).idle()
  expect(await (await client.get(`/api/executions/${id}`)).json()).toMatchObject({
    status: 'succeeded',
    output: { text: 'Sum up.\n\nAttached: n.txt (text/plain, 5 bytes).' },
  })
})
