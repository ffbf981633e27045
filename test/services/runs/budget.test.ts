import { sql } from 'kysely'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { getExecution, replayExecution, retryRun } from '../../../src/services/executions.service.ts'
import { startRun } from '../../../src/services/runs/start-run.ts'
import { validateDefinition } from '../../../src/services/recipes/validate.ts'
import type { ServiceContext } from '../../../src/context.ts'
import { createDearApp } from '../../support/dear-model.ts'
import { recipe } from '../../support/engine.ts'
import { workOff } from '../../support/workflows.ts'

const { app, provider } = await createDearApp()
const { runtime, db, workspaceId } = app
afterAll(() => provider.close())
beforeEach(() => void (provider.requests.length = 0))

const ctx: ServiceContext = {
  ...runtime,
  actor: { kind: 'system', id: 'test', workspaceId, permissions: new Set(['recipes:execute']) },
}
const ask = (id: string, model = 'dear', more: object = {}) => ({
  id,
  kind: 'llm',
  prompt: 'Say something.',
  model: { provider: model === 'offline' ? 'offline' : 'openai', model },
  ...more,
})
const bounded = (budget_usd: string, ...steps: object[]) => recipe(steps, { settings: { budget_usd } })
async function start(definition: ReturnType<typeof recipe>, input = {}): Promise<string> {
  const { id } = await startRun(ctx, { definition, trigger: { kind: 'api' }, input })
  await workOff(runtime)
  return id
}
interface Body {
  status: string
  error: { kind: string; detail: string; step?: string } | null
  budget_usd: string | null
  cost_usd: string | null
  usage: { cost_usd: string | null; model_calls: number }
}
const get = async (id: string) => (await (await app.get(`/api/executions/${id}`)).json()) as Body
let slugs = 0
async function stored(definition: object): Promise<string> {
  const slug = `kept-${++slugs}`
  const made = await app.post('/api/workflow-recipes', { name: 'Kept', slug, ...definition })
  expect(made.status, await made.clone().text()).toBe(201)
  return slug
}
const child = (id: string, slug: string) => ({ id, kind: 'recipe', recipe: slug })

describe('a run with a budget', () => {
  test('makes no call once it is spent, and says so', async () => {
    const id = await start(bounded('0.2', ask('one'), ask('two'), ask('three')))
    expect(await get(id)).toMatchObject({
      status: 'failed',
      error: { kind: 'budget_exceeded', detail: 'The budget of 0.2 USD is spent.', step: 'three' },
      budget_usd: '0.2',
      cost_usd: '0.21',
    })
    expect(provider.requests).toHaveLength(2)
  })

  test('spends beyond it what is in flight when it is reached, and no more', async () => {
    const items = { id: 'each', kind: 'foreach', items: [1, 2, 3, 4, 5, 6, 7, 8, 9], as: 'n', concurrency: 3 }
    const id = await start(bounded('0.01', { ...items, on_item_error: 'collect', steps: [ask('one')] }))
    expect(await get(id)).toMatchObject({ status: 'succeeded' })
    expect(provider.requests.length).toBeLessThanOrEqual(3)
    expect(provider.requests.length).toBeGreaterThan(0)
  })

  test('asks no model whose price is not known', async () => {
    const id = await start(bounded('5', ask('one', 'unheard-of')))
    expect(await get(id)).toMatchObject({ status: 'failed', error: { kind: 'price_unknown' }, cost_usd: '0' })
    expect(provider.requests).toEqual([])
    const free = await start(recipe([ask('one', 'unheard-of')]))
    expect(await get(free)).toMatchObject({ status: 'succeeded', budget_usd: null, cost_usd: null })
  })

  test('pays nothing for the offline model, nor for calls that a provider refuses', async () => {
    expect(await get(await start(bounded('0.01', ask('one', 'offline'), ask('two', 'offline'))))).toMatchObject({
      status: 'succeeded',
      cost_usd: '0',
    })
    provider.script({ kind: 'status', status: 503 })
    const retry = { retry: { max_attempts: 2, backoff: '1ms' } }
    expect(await get(await start(bounded('1', ask('one', 'dear', retry))))).toMatchObject({
      status: 'succeeded',
      cost_usd: '0.105',
      usage: { model_calls: 2 },
    })
  })

  test('keeps what it has spent over a retry; a replay begins anew', async () => {
    const id = await start(bounded('0.2', ask('one'), ask('two'), ask('three')))
    await retryRun(ctx, id)
    await workOff(runtime)
    expect(await get(id)).toMatchObject({ status: 'failed', error: { kind: 'budget_exceeded' }, cost_usd: '0.21' })
    expect(provider.requests).toHaveLength(2)
    const replay = await replayExecution(ctx, { id })
    await workOff(runtime)
    expect(await get(replay.id)).toMatchObject({ status: 'failed', cost_usd: '0.21' })
    expect(provider.requests).toHaveLength(4)
  })
})

describe('runs that a run starts', () => {
  test('count for its budget, and have what is left of it', async () => {
    const slug = await stored({ steps: [ask('one')] })
    const id = await start(bounded('0.2', child('a', slug), child('b', slug), child('c', slug)))
    expect(await get(id)).toMatchObject({
      status: 'failed',
      error: { kind: 'child_failed', detail: expect.stringContaining('The budget of 0.2 USD is spent.'), step: 'c' },
      cost_usd: '0.21',
      usage: { cost_usd: '0' },
    })
    expect(provider.requests).toHaveLength(2)
  })

  test('keep a smaller budget of their own', async () => {
    const slug = await stored({ steps: [ask('one'), ask('two')], settings: { budget_usd: '0.1' } })
    const id = await start(bounded('5', child('a', slug)))
    expect(await get(id)).toMatchObject({ status: 'failed', cost_usd: '0.105' })
  })

  test('count for those above them at any depth, side by side', async () => {
    const leaf = await stored({ steps: [ask('one')] })
    const middle = await stored({ steps: [child('leaf', leaf)] })
    const each = { id: 'each', kind: 'foreach', items: [1, 2, 3, 4, 5, 6], as: 'n', concurrency: 2 }
    const id = await start(bounded('0.2', { ...each, on_item_error: 'collect', steps: [child('down', middle)] }))
    expect(await get(id)).toMatchObject({ status: 'succeeded', budget_usd: '0.2' })
    expect(provider.requests.length).toBeGreaterThanOrEqual(2)
    expect(provider.requests.length).toBeLessThanOrEqual(3)
  })

  test('make their parent spend what cannot be counted no further', async () => {
    const slug = await stored({ steps: [ask('one', 'unheard-of')] })
    const definition = bounded('5', { ...child('a', slug), on_error: 'continue' }, ask('b'))
    expect(await get(await start(definition))).toMatchObject({ status: 'succeeded', cost_usd: '0.105' })
    expect(provider.requests).toHaveLength(1)
  })
})

test('the cost of a run that has started none is read with it, and no runs are looked for', async () => {
  const statementsFor = async (id: string): Promise<number> => {
    let count = 0
    const db = ctx.db.withPlugin({
      transformQuery: ({ node }) => (count++, node),
      transformResult: ({ result }) => Promise.resolve(result),
    })
    await getExecution({ ...ctx, db }, id)
    return count
  }
  const alone = await start(bounded('1', ask('one')))
  const parent = await start(recipe([child('a', await stored({ steps: [ask('one')] }))]))
  expect([await get(alone), await get(parent)]).toMatchObject([{ cost_usd: '0.105' }, { cost_usd: '0.105' }])
  expect(await statementsFor(alone)).toBe((await statementsFor(parent)) - 1)
})

test('the bound is a row that calls are held to, whatever the runs below it tell, and goes with its run', async () => {
  const slug = await stored({ steps: [ask('one')] })
  const id = await start(bounded('0.2', child('a', slug), child('b', slug), child('c', slug)))
  const rowOf = async () => {
    const { rows } = await sql<{ spent: string; reserved: string; calls: number }>`
      select trim_scale(spent)::text as spent, trim_scale(reserved)::text as reserved, calls
      from budgets where scope_id = ${id}`.execute(db)
    return rows
  }
  expect(await rowOf()).toEqual([{ spent: '0.21', reserved: '0', calls: 2 }])
  // As many as they may be: none of them is looked at.
  await sql`update runs set usage = '{}' where id = ${id} or parent_run_id = ${id}`.execute(db)
  await retryRun(ctx, id)
  await workOff(runtime)
  expect(await get(id)).toMatchObject({ status: 'failed', error: { kind: 'child_failed', step: 'c' } })
  expect(provider.requests).toHaveLength(2)
  await sql`delete from runs where id = ${id}`.execute(db)
  expect(await rowOf()).toEqual([])
})

test('a run that has spent before there were rows for it goes on with that', async () => {
  const id = await start(bounded('0.2', ask('one'), ask('two'), ask('three')))
  await sql`delete from budgets where scope_id = ${id}`.execute(db)
  await retryRun(ctx, id)
  await workOff(runtime)
  expect(await get(id)).toMatchObject({ status: 'failed', error: { kind: 'budget_exceeded' }, cost_usd: '0.21' })
  expect(provider.requests).toHaveLength(2)
})

test('a call that was cut off counts as what was reserved for it', async () => {
  provider.script({ kind: 'cut' })
  const id = await start(bounded('0.2', ask('one', 'dear', { on_error: 'continue' }), ask('two')))
  expect(await get(id)).toMatchObject({ status: 'failed', error: { kind: 'budget_exceeded', step: 'two' } })
  expect(provider.requests).toHaveLength(1)
})

test('a budget is a decimal text above nothing', () => {
  const faultsOf = (budget_usd: unknown) =>
    validateDefinition({ ...recipe([ask('one')]), settings: { budget_usd } }).faults.map(({ pointer }) => pointer)
  expect(faultsOf('0.000000001')).toEqual([])
  for (const wrong of ['0', '0.00', '-1', '1e3', 1, '', '0.0000000001'])
    expect(faultsOf(wrong)).toEqual(['/settings/budget_usd'])
})
