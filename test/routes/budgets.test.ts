import { sql } from 'kysely'
import { afterAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { uuidv7 } from '../../src/lib/ids.ts'
import { scopedTo } from '../../src/db/scope.ts'
import { askModel } from '../../src/services/models/ask.ts'
import { recoverRuns } from '../../src/services/runs/claim.ts'
import { Engine } from '../../src/services/runs/engine.ts'
import { engineOf, runsService } from '../../src/services/runs/index.ts'
import type { Client } from '../support/app.ts'
import { createDearApp } from '../support/dear-model.ts'
import { workOff } from '../support/workflows.ts'

const { app, provider } = await createDearApp()
const { runtime, db, database, signIn } = app
afterAll(() => provider.close())
beforeEach(() => void (provider.requests.length = 0))

type Body = { [key: string]: any }
const json = async (response: Response | Promise<Response>) => (await (await response).json()) as Body
const base = '/api/budgets'
const workspaceBudget = (limit_usd: string, more: object = {}) => ({
  scope: { type: 'workspace' },
  limit_usd,
  window: 'day',
  ...more,
})
async function make(client: Client, body: object): Promise<Body> {
  const response = await client.post(base, body)
  const made = await json(response)
  expect(response.status, JSON.stringify(made)).toBe(201)
  return made
}
const model = { provider: 'openai', model: 'dear' }
const anAgent = async (client: Client) => json(client.post('/api/agents', { name: `Agent ${uuidv7()}`, model }))
const anExecution = async (client: Client, { id }: Body, headers = {}) =>
  client.post(`/api/agents/${id}/execute`, { prompt: 'Say something.' }, headers)
const spent = async (client: Client, { id }: Body) => {
  const { spent_usd, reserved_usd, remaining_usd, measured } = await json(client.get(`${base}/${id}`))
  return { spent_usd, reserved_usd, remaining_usd, calls: measured.calls }
}

describe('a budget', () => {
  test('is made, read, changed and removed', async () => {
    const client = await signIn()
    const agent = await anAgent(client)
    const made = await make(client, {
      scope: { type: 'agent', id: agent['id'] },
      limit_usd: '25.50',
      window: 'month',
      zone: 'Europe/Berlin',
      thresholds: [80, 50, 80],
    })
    expect(made).toMatchObject({
      scope: { type: 'agent', id: agent['id'] },
      limit_usd: '25.5',
      thresholds: [50, 80],
      unknown_price: 'refuse',
      spent_usd: '0',
      reserved_usd: '0',
      remaining_usd: '25.5',
      measured: { calls: 0, unpriced_calls: 0 },
    })
    expect(Date.parse(made['window_end'])).toBeGreaterThan(Date.parse(made['window_start']))
    const path = `${base}/${made['id']}`
    expect(await json(client.get(path))).toEqual(made)
    expect(await json(client.get(`${base}?scope=agent`))).toMatchObject({ items: [made], next_cursor: null })
    expect(await json(client.get(`${base}?scope=recipe`))).toMatchObject({ items: [] })
    const changed = await json(client.patch(path, { limit_usd: '1', window: 'total' }))
    expect(changed).toMatchObject({ limit_usd: '1', window: 'total', window_end: null, version: 2 })
    expect((await client.del(path)).status).toBe(204)
    expect((await client.get(path)).status).toBe(404)
  })

  test('is one for each window of a thing', async () => {
    const client = await signIn()
    await make(client, workspaceBudget('1'))
    expect((await client.post(base, workspaceBudget('2'))).status).toBe(409)
    await make(client, workspaceBudget('2', { window: 'week' }))
  })

  test('is refused for what is not there, and for amounts, percents and zones that are none', async () => {
    const client = await signIn()
    const theirs = await anAgent(await signIn())
    const faults = async (body: object) => {
      const response = await client.post(base, body)
      expect(response.status).toBe(422)
      return ((await json(response))['errors'] as Body[]).map(({ pointer }) => pointer as string)
    }
    expect(await faults(workspaceBudget('0'))).toEqual(['/limit_usd'])
    expect(await faults(workspaceBudget('1', { thresholds: [101] }))).toEqual(['/thresholds/0'])
    expect(await faults(workspaceBudget('1', { zone: 'Mars/Olympus' }))).toEqual(['/zone'])
    expect(await faults({ ...workspaceBudget('1'), scope: { type: 'agent' } })).toEqual(['/scope/id'])
    const [foreign, missing] = await Promise.all(
      [theirs['id'], uuidv7()].map(async (id) => {
        const { request_id: _, ...problem } = await json(
          client.post(base, { ...workspaceBudget('1'), scope: { type: 'agent', id } }),
        )
        return problem
      }),
    )
    expect(foreign).toEqual(missing)
  })

  test('is unknown to other workspaces, and needs its permissions', async () => {
    const client = await signIn()
    const path = `${base}/${(await make(client, workspaceBudget('1')))['id']}`
    const other = await signIn()
    for (const answer of [other.get(path), other.patch(path, { limit_usd: '9' }), other.del(path)])
      expect((await answer).status).toBe(404)
    const reader = await signIn({ workspace: client.workspaceId, scopes: ['budgets:read'] })
    expect((await reader.get(path)).status).toBe(200)
    expect((await reader.patch(path, { limit_usd: '9' })).status).toBe(403)
    const none = await signIn({ workspace: client.workspaceId, scopes: [] })
    expect((await none.get(path)).status).toBe(403)
  })

  test('that was changed in the meantime is not changed by who read the one before; what is measured does not count', async () => {
    const client = await signIn()
    const { id } = await make(client, workspaceBudget('5'))
    const path = `${base}/${id}`
    const etag = (await client.get(path)).headers.get('etag')!
    await json(client.post('/api/models/test', model))
    expect((await client.get(path, { 'if-none-match': etag })).status, 'its figures have changed').toBe(200)
    expect((await client.patch(path, { limit_usd: '6' }, { 'if-match': etag })).status).toBe(200)
    expect((await client.patch(path, { limit_usd: '7' }, { 'if-match': etag })).status).toBe(412)
    expect((await client.del(path, { 'if-match': etag })).status).toBe(412)
  })

  test('is made once for a key, and its changes are in the audit log', async () => {
    const client = await signIn()
    const send = () => client.post(base, workspaceBudget('5'), { 'idempotency-key': 'budget-1' })
    const [first, again] = [await json(send()), await json(send())]
    expect(again).toEqual(first)
    await client.patch(`${base}/${first['id']}`, { limit_usd: '6' })
    await client.del(`${base}/${first['id']}`)
    const { rows } = await sql<{ action: string }>`
      select action from audit_logs where workspace_id = ${client.workspaceId} and target_id = ${first['id']} order by seq`.execute(
      db,
    )
    expect(rows.map(({ action }) => action)).toEqual(['budget.created', 'budget.updated', 'budget.deleted'])
  })

  test('that is made in the middle of its window counts what was spent in it before', async () => {
    const client = await signIn()
    await json(client.post('/api/models/test', model))
    const whole = await make(client, workspaceBudget('1'))
    const ofKey = await make(client, { ...workspaceBudget('1'), scope: { type: 'key', id: client.keyId } })
    expect([whole, ofKey]).toMatchObject([{ spent_usd: '0.105' }, { spent_usd: '0.105' }])
    expect(await json(client.patch(`${base}/${whole['id']}`, { window: 'total' }))).toMatchObject({ spent_usd: '0' })
  })
})

test('a limit that is lowered below what is spent is told with the change, once', async () => {
  const client = await signIn()
  const { id } = await make(client, workspaceBudget('5', { thresholds: [50] }))
  await client.post('/api/models/test', model)
  const alerts = async () => {
    const { rows } = await sql<{ type: string; threshold: number }>`
      select type, threshold from budget_alerts where budget_id = ${id} order by threshold`.execute(db)
    return rows
  }
  expect(await alerts()).toEqual([])
  for (const limit_usd of ['0.2', '0.1', '0.3', '0.09'])
    expect((await client.patch(`${base}/${id}`, { limit_usd })).status).toBe(200)
  expect(await alerts()).toEqual([
    { type: 'budget.threshold_reached', threshold: 50 },
    { type: 'budget.exceeded', threshold: 100 },
  ])
})

test('a change of the window takes calls under way along', async () => {
  const client = await signIn()
  const { id } = await make(client, workspaceBudget('5'))
  provider.script({ kind: 'hold' })
  const asked = client.post('/api/models/test', model)
  await provider.held()
  await client.patch(`${base}/${id}`, { window: 'month', zone: 'Asia/Tokyo' })
  expect(Number((await spent(client, { id })).reserved_usd)).toBeGreaterThan(0.1)
  provider.release()
  expect((await asked).status).toBe(200)
  expect(await spent(client, { id })).toMatchObject({ spent_usd: '0.105', reserved_usd: '0' })
})

describe('whoever waits for the answer', () => {
  test('is refused at once, told when to come again, and heard at the turn of the window', async () => {
    const client = await signIn()
    const budget = await make(client, workspaceBudget('0.1'))
    expect((await client.post('/api/models/test', model)).status).toBe(200)
    expect(await spent(client, budget)).toEqual({
      spent_usd: '0.105',
      reserved_usd: '0',
      remaining_usd: '-0.005',
      calls: 1,
    })
    const refused = await client.post('/api/models/test', model)
    expect([refused.status, await json(refused)]).toMatchObject([
      429,
      { type: '/problems/budget-exceeded', detail: 'The budget of 0.1 USD is spent.' },
    ])
    const seconds = Number(refused.headers.get('retry-after'))
    expect(seconds).toBeGreaterThan(0)
    expect(seconds).toBeLessThanOrEqual(86_400)
    const agent = await anAgent(client)
    const asked = await anExecution(client, agent, { prefer: 'wait=5' })
    expect([asked.status, asked.headers.has('retry-after')]).toEqual([429, true])
    expect(provider.requests).toHaveLength(1)
    await database.shiftClock({ seconds: seconds + 1 })
    try {
      expect((await client.post('/api/models/test', model)).status).toBe(200)
      expect(await spent(client, budget)).toMatchObject({ spent_usd: '0.105', calls: 1 })
    } finally {
      await database.shiftClock({ seconds: 0 })
    }
  })

  test('is not kept waiting by an execution that the budget stops on the way', async () => {
    const client = await signIn()
    const agent = await anAgent(client)
    const started = await anExecution(client, agent, { prefer: 'wait=1', 'idempotency-key': 'one' })
    expect(started.status).toBe(202)
    await make(client, workspaceBudget('0.1'))
    await client.post('/api/models/test', model)
    await workOff(runtime)
    const execution = (await json(started))['id'] as string
    expect(await json(client.get(`/api/executions/${execution}`))).toMatchObject({
      status: 'failed',
      error: { kind: 'budget_exceeded' },
    })
    // What the key has made before is answered all the same.
    const again = await anExecution(client, agent, { prefer: 'wait=1', 'idempotency-key': 'one' })
    expect([again.status, (await json(again))['id']]).toEqual([200, execution])
  })

  test('may ask models that cost nothing', async () => {
    const client = await signIn()
    await make(client, workspaceBudget('0.1'))
    await client.post('/api/models/test', model)
    expect((await client.post('/api/models/test', { provider: 'offline', model: 'offline' })).status).toBe(200)
    const unknown = await client.post('/api/models/test', { provider: 'openai', model: 'unheard-of' })
    expect(unknown.status).toBe(409)
  })
})

describe('an execution that nobody waits for', () => {
  async function blocked(limit = '0.1', window = 'day') {
    const client = await signIn()
    const agent = await anAgent(client)
    const budget = await make(client, {
      scope: { type: 'agent', id: agent['id'] },
      limit_usd: limit,
      window,
    })
    const ids: string[] = []
    for (let i = 0; i < 2; i++) {
      ids.push((await json(anExecution(client, agent)))['id'] as string)
      await workOff(runtime)
    }
    const read = () => json(client.get(`/api/executions/${ids[1]}`))
    return { client, budget, first: ids[0]!, id: ids[1]!, read }
  }

  test('waits for the turn of the window, and goes on then', async () => {
    const { budget, client, read } = await blocked()
    const waiting = await read()
    expect(waiting).toMatchObject({
      status: 'waiting',
      waits_for: { reason: 'budget', budget_id: budget['id'], until: budget['window_end'] },
      steps: [{ status: 'waiting', attempts: 1, error: { kind: 'budget_exceeded' } }],
    })
    expect(provider.requests).toHaveLength(1)
    // It looks by itself before that: a change that came between its look and its row has told it nothing.
    const { rows } = await sql<{ seconds: number }>`
      select extract(epoch from wake_at - app_now())::double precision as seconds from waits where run_id = ${waiting['id']}`.execute(
      db,
    )
    expect(rows[0]!.seconds).toBeLessThanOrEqual(300)
    await workOff(runtime)
    expect(await read()).toMatchObject({ status: 'waiting' })
    const seconds = (Date.parse(budget['window_end']) - Date.now()) / 1000
    await database.shiftClock({ seconds: seconds + 1 })
    try {
      await workOff(runtime)
      expect(await read()).toMatchObject({ status: 'succeeded', waits_for: null, steps: [{ attempts: 1 }] })
      expect(await spent(client, budget)).toMatchObject({ spent_usd: '0.105', calls: 1 })
    } finally {
      await database.shiftClock({ seconds: 0 })
    }
  })

  test.each([
    ['raised', (client: Client, path: string) => client.patch(path, { limit_usd: '1' })],
    ['removed', (client: Client, path: string) => client.del(path)],
  ])('goes on when the budget is %s', async (_, change) => {
    const { budget, client, read } = await blocked()
    expect(await read()).toMatchObject({ status: 'waiting' })
    expect((await change(client, `${base}/${budget['id']}`)).ok).toBe(true)
    await workOff(runtime)
    expect(await read()).toMatchObject({ status: 'succeeded' })
  })

  test.each([
    ['raised', (client: Client, path: string) => client.patch(path, { limit_usd: '1' })],
    ['removed', (client: Client, path: string) => client.del(path)],
  ])('goes on at once where another branch is at work, when the budget is %s', async (_, change) => {
    const { client, budget } = await blocked()
    const agent = { kind: 'agent', agent: budget['scope'].id, prompt: 'Go.', needs: [] }
    const steps = [
      { id: 'busy', kind: 'llm', prompt: 'Go.', model, needs: [] },
      { id: 'waits', ...agent },
    ]
    await client.post('/api/workflow-recipes', { name: 'Two', slug: 'two', steps })
    provider.requests.length = 0
    provider.script({ kind: 'hold' })
    const { id } = await json(client.post('/api/workflow-recipes/two/execute', { input_data: {} }))
    await runsService.tick(runtime)
    await provider.held()
    const waiting = async () => {
      const { steps: rows } = await json(client.get(`/api/executions/${id}`))
      expect(rows).toContainEqual(expect.objectContaining({ step_id: 'waits', status: 'waiting' }))
    }
    await vi.waitFor(waiting, { timeout: 5_000 })
    expect((await change(client, `${base}/${budget['id']}`)).ok).toBe(true)
    expect(await engineOf(runtime).pollInbox()).toBe(1)
    try {
      await vi.waitFor(() => expect(provider.requests.length).toBeGreaterThan(1), { timeout: 10_000 })
    } finally {
      provider.release()
    }
    await workOff(runtime)
    expect(await json(client.get(`/api/executions/${id}`))).toMatchObject({ status: 'succeeded' })
  })

  test('stays with a step that is made once until calls under way have given back what they reserved', async () => {
    const client = await signIn()
    const budget = await make(client, workspaceBudget('0.5'))
    const agent = await anAgent(client)
    const steps = [{ id: 'one', kind: 'llm', prompt: 'Go.', model, once: true }]
    await client.post('/api/workflow-recipes', { name: 'Once', slug: 'once', steps })
    provider.script({ kind: 'hold' })
    await anExecution(client, agent)
    await runsService.tick(runtime)
    await provider.held()
    try {
      const { id } = await json(client.post('/api/workflow-recipes/once/execute', { input_data: {} }))
      await runsService.tick(runtime)
      const begun = async () => {
        const { rows } = await sql`select from run_calls where run_id = ${id}`.execute(db)
        expect(rows).toHaveLength(1)
      }
      await vi.waitFor(begun, { timeout: 5_000 })
      // Others are told to come again meanwhile.
      expect((await client.post('/api/models/test', model)).status).toBe(429)
      expect(await json(client.get(`/api/executions/${id}`))).toMatchObject({ status: 'running' })
      provider.release()
      await workOff(runtime)
      expect(await json(client.get(`/api/executions/${id}`))).toMatchObject({ status: 'succeeded' })
      expect(await spent(client, budget)).toMatchObject({ spent_usd: '0.21', reserved_usd: '0' })
    } finally {
      provider.release()
    }
  })

  test('fails where the budget never turns', async () => {
    const { read } = await blocked('0.1', 'total')
    expect(await read()).toMatchObject({ status: 'failed', error: { kind: 'budget_exceeded' } })
  })

  test('can be canceled while it waits', async () => {
    const { client, id, read } = await blocked()
    expect((await client.post(`/api/executions/${id}/cancel`, {})).status).toBeLessThan(300)
    expect(await read()).toMatchObject({ status: 'canceled' })
  })
})

test('executions at once, on two workers, make no call more than the budget has room for', async () => {
  const client = await signIn()
  const agent = await anAgent(client)
  const budget = await make(client, workspaceBudget('0.3'))
  const ids: string[] = []
  for (let i = 0; i < 12; i++) ids.push((await json(anExecution(client, agent)))['id'] as string)
  const other = new Engine({ ...runtime }, { owner: 'other', concurrency: 6 })
  try {
    // What found the rest reserved looks again after a while.
    for (let round = 0; round < 8; round++) {
      await database.shiftClock({ seconds: 40 * round })
      await Promise.all([runsService.tick(runtime), other.claim()])
      await Promise.all([engineOf(runtime).idle(), other.idle()])
    }
    const executions = await Promise.all(ids.map((id) => json(client.get(`/api/executions/${id}`))))
    const statuses = executions.map(({ status }) => status as string).toSorted()
    expect(statuses).toEqual([...Array(3).fill('succeeded'), ...Array(9).fill('waiting')])
    for (const { status, waits_for } of executions)
      if (status === 'waiting') expect(waits_for).toMatchObject({ reason: 'budget', until: budget['window_end'] })
    expect(await spent(client, budget)).toMatchObject({ spent_usd: '0.315', reserved_usd: '0', calls: 3 })
    expect(provider.requests).toHaveLength(3)
  } finally {
    await database.shiftClock({ seconds: 0 })
  }
})

test('a call counts for its workspace, key, agent and recipe, and for the recipe whose execution started it', async () => {
  const client = await signIn()
  const agent = await anAgent(client)
  const recipe = (slug: string, step: object) =>
    json(client.post('/api/workflow-recipes', { name: slug, slug, steps: [{ id: 'one', ...step }] }))
  const inner = await recipe('inner', { kind: 'agent', agent: agent['slug'], prompt: 'Go.' })
  const outer = await recipe('outer', { kind: 'recipe', recipe: 'inner' })
  const other = await recipe('other', { kind: 'transform', value: 1 })
  const scopes = [
    { type: 'workspace' },
    { type: 'key', id: client.keyId },
    { type: 'agent', id: agent['id'] },
    { type: 'recipe', id: inner['id'] },
    { type: 'recipe', id: outer['id'] },
    { type: 'recipe', id: other['id'] },
  ]
  const budgets = []
  for (const scope of scopes) budgets.push(await make(client, { scope, limit_usd: '1', window: 'week' }))
  await client.post('/api/workflow-recipes/outer/execute', { input_data: {} })
  await workOff(runtime)
  const sums = await Promise.all(budgets.map((budget) => spent(client, budget)))
  expect(sums.map(({ spent_usd }) => spent_usd)).toEqual(['0.105', '0.105', '0.105', '0.105', '0.105', '0'])
})

test('a call of a workspace without budgets pays no trip to the database for them', async () => {
  const client = await signIn()
  const statements: string[] = []
  const counting = scopedTo(runtime.db, client.workspaceId).withPlugin({
    transformQuery: ({ node }) => (statements.push(JSON.stringify(node)), node),
    transformResult: async ({ result }) => result,
  })
  const ctx = {
    ...runtime,
    db: counting,
    actor: { kind: 'key' as const, id: client.keyId, workspaceId: client.workspaceId, permissions: new Set<never>() },
  }
  const request = { choice: model, system: null, messages: [{ role: 'user' as const, text: 'Hello.' }], tools: [] }
  const trips = async () => {
    statements.length = 0
    await askModel(ctx, request)
    return {
      all: statements.length,
      withoutPrice: statements.filter((text) => !text.includes('cached_input_usd')).length,
    }
  }
  const before = await trips()
  // Looked for with the price of the model, and nowhere else.
  expect(statements.filter((text) => text.includes('budget') && !text.includes('cached_input_usd'))).toEqual([])
  expect(before.all - before.withoutPrice).toBe(1)
  await make(client, workspaceBudget('5'))
  expect((await trips()).all).toBe(before.all + 2)
})

test('a process that died leaves a reservation, and the execution that goes on elsewhere uses it', async () => {
  const client = await signIn()
  const agent = await anAgent(client)
  const budget = await make(client, workspaceBudget('1'))
  provider.script({ kind: 'hold' })
  const { id } = await json(anExecution(client, agent))
  await runsService.tick(runtime)
  await provider.held()
  const during = await spent(client, budget)
  expect(Number(during.reserved_usd)).toBeGreaterThan(0.8)
  // Its lease is over, and another takes the run: the same round of the same attempt.
  await sql`update runs set lease_until = app_now() - interval '1 second' where id = ${id}`.execute(db)
  expect(await recoverRuns(runtime.db, 10)).toBe(1)
  const other = new Engine({ ...runtime }, { owner: 'other', concurrency: 5 })
  await other.claim()
  await other.idle()
  expect(await json(client.get(`/api/executions/${id}`))).toMatchObject({ status: 'succeeded' })
  expect(await spent(client, budget)).toMatchObject({ spent_usd: '0.105', reserved_usd: '0' })
  provider.release()
  await engineOf(runtime).idle()
  expect(await spent(client, budget)).toMatchObject({ spent_usd: '0.105', reserved_usd: '0' })
})
