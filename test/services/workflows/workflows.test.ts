import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { sql } from 'kysely'
import { parseConfig } from '../../../src/config.ts'
import { jsonb } from '../../../src/db/json.ts'
import { uuidv7 } from '../../../src/lib/ids.ts'
import { engineOf, runsService } from '../../../src/services/runs/index.ts'
import { workflowsTick } from '../../../src/services/workflows.service.ts'
import { createTestApp, testConfig, type Client } from '../../support/app.ts'
import { loopbackServer } from '../../support/loopback-server.ts'
import { startProviderServer } from '../../support/provider-server.ts'
import { workOff } from '../../support/workflows.ts'

const provider = await startProviderServer()
afterAll(() => provider.close())
const { openaiApiKey, openaiBaseUrl } = parseConfig({ ENVIRONMENT: 'test', ...provider.env })
const app = await createTestApp({
  config: { ...testConfig(), openaiApiKey, openaiBaseUrl, llmProvider: 'offline', llmModel: 'offline' },
})
const { signIn, db } = app
beforeEach(() => void (provider.requests.length = 0))

interface Body {
  id: string
  status: string
  plan: number | null
  replans: number
  error: { kind: string; [key: string]: unknown } | null
  cost_usd: string | null
  attention: string[]
  execution_id: string | null
}
interface PlanBody {
  number: number
  source: string
  failed: { plan: number; step: string } | null
  definition: { steps: { id: string; kind: string }[] }
}
const read = async <T>(response: Response | Promise<Response>): Promise<T> => (await (await response).json()) as T
const work = () => workOff(app.runtime)
const get = (client: Client, id: string) => read<Body>(client.get(`/api/workflows/${id}`))
const plansOf = async (client: Client, id: string) =>
  (await read<{ items: PlanBody[] }>(client.get(`/api/workflows/${id}/plans`))).items.toReversed()
async function aWorkflow(client: Client, body: object): Promise<Body> {
  const response = await client.post('/api/workflows', { approval: 'auto', ...body })
  expect(response.status, await response.clone().text()).toBe(202)
  return read<Body>(response)
}
const scripted = { model: { provider: 'openai', model: 'scripted' } }
const says = (...answers: unknown[]) =>
  provider.script(...answers.map((answer) => ({ kind: 'answer' as const, text: [JSON.stringify(answer)] })))
const askedWith = (index: number) => JSON.stringify(provider.requests[index]!.body)
const plan = (...steps: object[]) => ({ name: 'Scripted', steps })
const value = (id: string, of: unknown = 1) => ({ id, kind: 'transform', value: of })
const fetching = (port: number, path = '/x', more: object = {}) => ({
  id: 'fetch',
  kind: 'http',
  request: { method: 'GET', url: `http://127.0.0.1:${port}${path}` },
  ...more,
})

describe('the planner', () => {
  test('is any configured model; it is told the goal, the context as data, and who there is', async () => {
    const client = await signIn()
    await client.post('/api/agents', { name: 'Botanist', description: 'Knows trees.' })
    says(plan(value('answer', '{{ input.context.tree }}')))
    const { id } = await aWorkflow(client, { goal: 'Name the tree.', context: { tree: 'Linden' }, ...scripted })
    await work()
    expect(await get(client, id)).toMatchObject({ status: 'succeeded' })
    expect(await read(client.get(`/api/workflows/${id}/result`))).toMatchObject({ output: 'Linden' })
    expect(provider.requests).toHaveLength(1)
    for (const part of ['Name the tree.', 'Linden', 'botanist', 'Knows trees.', 'http_request', 'Workflow plan'])
      expect(askedWith(0)).toContain(part)
  })

  test('hears what is wrong with its plan and writes another, three times at most', async () => {
    const client = await signIn()
    says(plan({ id: 'a', kind: 'llm', prompt: '{{ steps.later.output }}' }), plan(value('fine')))
    const { id } = await aWorkflow(client, { goal: 'Do it.', ...scripted })
    await work()
    expect(await get(client, id)).toMatchObject({ status: 'succeeded', plan: 1 })
    expect(askedWith(1)).toContain('there is no step later')

    const bad = plan({ id: 'a', kind: 'agent', agent: 'nobody', prompt: 'x' })
    says(bad, bad, bad)
    const failing = await aWorkflow(client, { goal: 'Do it.', ...scripted })
    await work()
    expect(await get(client, failing.id)).toMatchObject({
      status: 'failed',
      plan: null,
      error: { kind: 'plan-invalid', errors: [{ pointer: '/steps/0/agent' }] },
    })
    expect(provider.requests).toHaveLength(5)
  })

  test('that cannot be reached fails the workflow with its reason', async () => {
    const client = await signIn()
    provider.script({ kind: 'status', status: 400 })
    const { id } = await aWorkflow(client, { goal: 'Do it.', ...scripted })
    await work()
    expect(await get(client, id)).toMatchObject({ status: 'failed', error: { kind: 'planning-failed' } })
  })

  test('that reaches where the goal does not point has to wait, also where plans approve themselves', async () => {
    const client = await signIn()
    const { port, seen } = await loopbackServer((_, response) => response.end('{}'))
    says(plan(fetching(port)))
    const { id } = await aWorkflow(client, { goal: 'Look it up.', ...scripted })
    await work()
    const waiting = await get(client, id)
    expect(waiting).toMatchObject({ status: 'awaiting_approval', execution_id: null })
    expect(waiting.attention).toHaveLength(1)
    expect(seen).toEqual([])
    await client.post(`/api/workflows/${id}/approve`)
    await work()
    expect(seen).toHaveLength(1)
  })
})

describe('an accepted workflow', () => {
  test('is planned by whatever process is there, and by one alone', async () => {
    const client = await signIn()
    const { id } = await aWorkflow(client, { goal: 'Write a line.' })
    // The process that took it is gone; two others come.
    const others = await Promise.all([1, 2].map(() => createTestApp({ database: app.database })))
    for (let round = 0; round < 6; round++) {
      await Promise.all(
        others.map(async ({ runtime }) => {
          await runsService.tick(runtime)
          await engineOf(runtime).idle()
        }),
      )
      await Promise.all([...others, ...others].map(({ runtime }) => workflowsTick(runtime)))
    }
    expect(await get(client, id)).toMatchObject({ status: 'succeeded', plan: 1 })
    const { items } = await read<{ items: { trigger: { purpose: string } }[] }>(client.get('/api/executions'))
    expect(items.map(({ trigger }) => trigger.purpose).toSorted()).toEqual(['plan', 'run'])
  })

  test('is approved once, however many do it at the same time', async () => {
    const client = await signIn()
    const { id } = await aWorkflow(client, { goal: 'Write a line.', approval: 'required' })
    await work()
    const answers = await Promise.all(Array.from({ length: 5 }, () => client.post(`/api/workflows/${id}/approve`)))
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 409, 409, 409, 409])
    await work()
    const { items } = await read<{ items: unknown[] }>(client.get('/api/executions'))
    expect(items).toHaveLength(2)
  })

  test('that is edited and approved at once runs the plan that was approved, or none', async () => {
    const client = await signIn()
    const { id } = await aWorkflow(client, { goal: 'Write a line.', approval: 'required' })
    await work()
    const [edited, approved] = await Promise.all([
      client.put(`/api/workflows/${id}/plan`, { steps: [value('other')] }),
      client.post(`/api/workflows/${id}/approve`, { plan: 1 }),
    ])
    expect([edited.status, approved.status].toSorted()).toEqual([200, 409])
    await work()
    const { status, plan: number } = await get(client, id)
    expect([status, number]).toEqual(approved.status === 200 ? ['succeeded', 1] : ['awaiting_approval', 2])
  })

  test('that is canceled between its plan and the look at it is not begun', async () => {
    const client = await signIn()
    const { id } = await aWorkflow(client, { goal: 'Write a line.' })
    await runsService.tick(app.runtime)
    await engineOf(app.runtime).idle()
    expect((await client.post(`/api/workflows/${id}/cancel`)).status).toBe(200)
    await work()
    expect(await get(client, id)).toMatchObject({ status: 'canceled' })
    const { items } = await read<{ items: unknown[] }>(client.get('/api/executions'))
    expect(items).toHaveLength(1)
  })

  test('that cannot be advanced holds up no other, and ends', async () => {
    const client = await signIn()
    const broken = await aWorkflow(client, { goal: 'Write a line.' })
    const fine = await aWorkflow(client, { goal: 'Write a line.' })
    await runsService.tick(app.runtime)
    await engineOf(app.runtime).idle()
    // A plan of that number is there already, which no write of ours would leave behind.
    await sql`insert into workflow_plans (workflow_id, number, workspace_id, source, recipe_id, recipe_version, assignments,
      attention, created_by) values (${broken.id}, 1, ${client.workspaceId}, 'planner', ${uuidv7()}, 1, '[]', '[]', 'system')`.execute(
      db,
    )
    await work()
    expect(await get(client, fine.id)).toMatchObject({ status: 'succeeded' })
    for (let n = 1; n < 5; n++) {
      await app.database.shiftClock({ seconds: 120 * n })
      await workflowsTick(app.runtime)
    }
    await app.database.shiftClock({ seconds: 0 })
    expect(await get(client, broken.id)).toMatchObject({ status: 'failed', error: { kind: 'internal' } })
  })

  test('whose execution is gone ends too', async () => {
    const client = await signIn()
    const { id } = await aWorkflow(client, { goal: 'Wait 2 hours.' })
    await work()
    const { execution_id } = await get(client, id)
    await db.deleteFrom('runs').where('id', '=', execution_id!).execute()
    await work()
    expect(await get(client, id)).toMatchObject({ status: 'failed', error: { kind: 'execution-gone' } })
  })
})

describe('when a step fails', () => {
  test('the rest is planned anew with what there is, and every plan is kept', async () => {
    const client = await signIn()
    const { port, seen } = await loopbackServer((request, response) =>
      response
        .writeHead(request.url === '/bad' ? 404 : 200, { 'content-type': 'text/plain' })
        .end('It rains in Bergen.'),
    )
    const { id } = await aWorkflow(client, {
      goal: `Fetch http://127.0.0.1:${port}/good.txt and http://127.0.0.1:${port}/bad. Sum it up.`,
    })
    await work()
    expect(await get(client, id)).toMatchObject({ status: 'succeeded', plan: 2, replans: 1, error: null })
    const plans = await plansOf(client, id)
    expect(plans.map(({ source, failed }) => [source, failed?.step ?? null])).toEqual([
      ['planner', null],
      ['replan', 'fetch_2'],
    ])
    expect(plans[1]!.definition.steps.map(({ id: step }) => step)).toEqual(['sum'])
    const result = await read<{ output: string; steps: { plan: number; step_id: string; status: string }[] }>(
      client.get(`/api/workflows/${id}/result`),
    )
    expect(result.output).toContain('It rains in Bergen.')
    // The two of the first plan run side by side: either may end first.
    expect(result.steps.map(({ plan: number, step_id, status }) => [number, step_id, status]).toSorted()).toEqual([
      [1, 'fetch', 'succeeded'],
      [1, 'fetch_2', 'failed'],
      [2, 'sum', 'succeeded'],
    ])
    // What had been read was not read again.
    expect(seen.filter(({ url }) => url === '/good.txt')).toHaveLength(1)
  })

  test('it is planned anew twice at most', async () => {
    const client = await signIn()
    const { port } = await loopbackServer((_, response) => response.writeHead(404).end())
    const goal = `Ask http://127.0.0.1:${port}/x`
    says(plan(value('first'), fetching(port)), plan(fetching(port)), plan(fetching(port)))
    const { id } = await aWorkflow(client, { goal, ...scripted })
    await work()
    expect(await get(client, id)).toMatchObject({
      status: 'failed',
      plan: 3,
      replans: 2,
      error: { kind: 'http-status', step: 'fetch' },
    })
    expect(provider.requests).toHaveLength(3)
    expect(askedWith(1)).toContain('http-status')
    expect((await plansOf(client, id)).map(({ source }) => source)).toEqual(['planner', 'replan', 'replan'])
  })

  test('a plan of the rest waits for approval where plans do', async () => {
    const client = await signIn()
    const { port } = await loopbackServer((_, response) => response.writeHead(404).end())
    says(plan(value('kept', 'so far'), fetching(port)), plan(value('rest', '{{ input.results.kept }}')))
    const { id } = await aWorkflow(client, { goal: 'Ask.', approval: 'required', ...scripted })
    await work()
    await client.post(`/api/workflows/${id}/approve`)
    await work()
    expect(await get(client, id)).toMatchObject({ status: 'awaiting_approval', plan: 2 })
    const copy = await read<Body>(client.post(`/api/workflows/${id}/duplicate`))
    expect((await plansOf(client, copy.id))[0]!.definition.steps).toHaveLength(2)
    await client.post(`/api/workflows/${id}/approve`)
    await work()
    expect(await read(client.get(`/api/workflows/${id}/result`))).toMatchObject({ output: 'so far' })
  })

  test('of kind fail, that is the plan’s own verdict', async () => {
    const client = await signIn()
    says(plan({ id: 'stop', kind: 'fail', message: 'Nothing to do.', reason: 'nothing' }))
    const { id } = await aWorkflow(client, { goal: 'Do it.', ...scripted })
    await work()
    expect(await get(client, id)).toMatchObject({ status: 'failed', replans: 0, error: { detail: 'Nothing to do.' } })
  })
})

test('an approval within a plan that somebody turns down is final: no other way is planned', async () => {
  const client = await signIn()
  says(plan({ id: 'ok', kind: 'approval', message: 'Go on?' }, value('after')))
  const { id } = await aWorkflow(client, { goal: 'Do it.', ...scripted })
  await work()
  const { items } = await read<{ items: { id: string }[] }>(client.get('/api/approvals'))
  expect((await client.post(`/api/approvals/${items[0]!.id}/decide`, { decision: 'rejected' })).status).toBe(200)
  await work()
  expect(await get(client, id)).toMatchObject({ status: 'failed', replans: 0, error: { kind: 'rejected' } })
})

describe('a budget', () => {
  const price = (model: string) =>
    db
      .insertInto('models')
      .values({
        id: uuidv7(),
        provider: 'openai',
        model,
        name: model,
        input_usd: '100',
        cached_input_usd: '100',
        output_usd: '100',
      } as never)
      .execute()

  const signInWith = async (model: object): Promise<Client> => {
    const client = await signIn()
    await db
      .updateTable('workspaces')
      .set({ settings: jsonb({ model }) })
      .where('id', '=', client.workspaceId)
      .execute()
    return client
  }

  test('counts planning as well: when that has spent it, nothing runs', async () => {
    await price('dear')
    const client = await signIn()
    says(plan(value('never')))
    const { id } = await aWorkflow(client, {
      goal: 'Do it.',
      budget_usd: '0.05',
      model: { provider: 'openai', model: 'dear' },
    })
    await work()
    const ended = await get(client, id)
    expect(ended).toMatchObject({ status: 'failed', plan: 1, execution_id: null, error: { kind: 'budget-exceeded' } })
    // 1000 tokens in, 50 out, a hundred dollars a million.
    expect(ended.cost_usd).toBe('0.105')
  })

  test('lets a run that has spent it ask no model any more', async () => {
    await price('dearer')
    const dear = { provider: 'openai', model: 'dearer' }
    const client = await signInWith(dear)
    says(plan({ id: 'one', kind: 'llm', prompt: 'Go.' }, { id: 'two', kind: 'llm', prompt: 'On.' }))
    const { id } = await aWorkflow(client, { goal: 'Do it.', budget_usd: '0.2', model: dear })
    await work()
    expect(await get(client, id)).toMatchObject({
      status: 'failed',
      cost_usd: '0.21',
      error: { kind: 'budget-exceeded' },
      replans: 0,
    })
    expect(provider.requests).toHaveLength(2)
  })

  test('counts what a run has spent once when it is retried by hand, beside all other runs of its workflow', async () => {
    await price('twice')
    const model = { provider: 'openai', model: 'twice' }
    const client = await signInWith(model)
    const ask = (id: string) => ({ id, kind: 'llm', prompt: 'Go.' })
    says(plan(ask('one'), ask('two'), ask('three')))
    const { id } = await aWorkflow(client, { goal: 'Do it.', budget_usd: '0.2', model })
    await work()
    const { execution_id, cost_usd } = await get(client, id)
    expect(cost_usd).toBe('0.21')
    // Room for one call more, but not if those of the run counted twice.
    await db.updateTable('workflows').set({ budget_usd: '0.3' }).where('id', '=', id).execute()
    expect((await client.post(`/api/executions/${execution_id}/retry`, {})).status).toBe(202)
    await work()
    expect(await read(client.get(`/api/executions/${execution_id}`))).toMatchObject({
      status: 'failed',
      error: { kind: 'budget_exceeded', step: 'three' },
      cost_usd: '0.21',
    })
    expect(provider.requests).toHaveLength(3)
  })

  test('is not kept with calls behind an unknown cost, nor without what was paid, though their run is deleted', async () => {
    await price('known')
    const known = { provider: 'openai', model: 'known' }
    for (const [model, budget_usd, kind] of [
      [scripted.model, '5', 'budget-unknown'],
      [known, '0.1', 'budget-exceeded'],
    ] as const) {
      const client = await signInWith(known)
      says(plan({ id: 'ok', kind: 'approval', message: 'Go on?' }, { id: 'one', kind: 'llm', prompt: 'Go.' }))
      const { id } = await aWorkflow(client, { goal: 'Do it.', model })
      await work()
      await sql`update workflows set budget_usd = ${budget_usd}::numeric where id = ${id}`.execute(db)
      await sql`delete from runs where id = (select planning_run_id from workflow_plans where workflow_id = ${id})`.execute(
        db,
      )
      const asked = provider.requests.length
      const { items } = await read<{ items: { id: string }[] }>(client.get('/api/approvals'))
      await client.post(`/api/approvals/${items[0]!.id}/decide`, { decision: 'approved' })
      await work()
      expect(await get(client, id)).toMatchObject({ status: 'failed', error: { kind } })
      expect(provider.requests).toHaveLength(asked)
    }
  })

  test('that cannot be kept, because a price is not known, lets nothing run', async () => {
    const client = await signIn()
    says(plan(value('never')))
    const { id } = await aWorkflow(client, { goal: 'Do it.', budget_usd: 5, ...scripted })
    await work()
    expect(await get(client, id)).toMatchObject({ status: 'failed', cost_usd: '0', error: { kind: 'budget-unknown' } })
    expect(provider.requests).toEqual([])
  })
})
