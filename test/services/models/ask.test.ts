import { sql } from 'kysely'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { jsonb } from '../../../src/db/json.ts'
import { uuidv7 } from '../../../src/lib/ids.ts'
import type { EgressOptions } from '../../../src/context.ts'
import { DatabaseAway } from '../../../src/lib/database-away.ts'
import { EgressError } from '../../../src/lib/egress-error.ts'
import { askModel } from '../../../src/services/models/ask.ts'
import type { ModelChoice, ModelRequest, ModelUsage } from '../../../src/services/models/types.ts'
import { createTestDatabase } from '../../support/database.ts'
import { startProviderServer, testKey } from '../../support/provider-server.ts'
import { createServiceContext, type ServiceContextOptions } from '../../support/service-context.ts'

const database = await createTestDatabase()
const server = await startProviderServer()
afterAll(async () => {
  await server.close()
  await database.close()
})
beforeEach(() => void (server.requests.length = 0))

async function setUp(choice: ModelChoice, options: ServiceContextOptions = {}) {
  const ctx = await createServiceContext(database, { env: server.env, ...options })
  const usage: ModelUsage[] = []
  const request: ModelRequest = { choice, system: null, messages: [{ role: 'user', text: 'Hello.' }], tools: [] }
  return { ctx, usage, ask: () => askModel(ctx, request, { onUsage: (row) => usage.push(row) }) }
}

const chain: ModelChoice = {
  provider: 'openai',
  model: 'first',
  temperature: 0.3,
  fallbacks: [
    { provider: 'anthropic', model: 'second' },
    { provider: 'google', model: 'third' },
  ],
}

describe('a chain of models', () => {
  test.each([408, 429, 500, 503])('goes on after %i, and accounts for each call', async (status) => {
    const { ask, usage } = await setUp(chain)
    server.script({ kind: 'status', status })
    expect(await ask()).toMatchObject({ provider: 'anthropic', model: 'second' })
    expect(usage).toMatchObject([
      { provider: 'openai', model: 'first', status: 'error' },
      { provider: 'anthropic', model: 'second', status: 'ok' },
    ])
    expect(server.requests[1]!.body['temperature']).toBe(0.3)
  })

  test('goes on after a time limit and after a provider that cannot be reached', async () => {
    const slow = await setUp(chain, { config: { modelTimeoutS: 0.2 } })
    server.script({ kind: 'hold' })
    expect(await slow.ask()).toMatchObject({ provider: 'anthropic' })
    server.release()
    const gone = await setUp(chain, { config: { openaiBaseUrl: 'http://127.0.0.1:1' } })
    expect(await gone.ask()).toMatchObject({ provider: 'anthropic' })
    expect(gone.usage[0]).toMatchObject({ status: 'error', error: 'upstream-failed' })
  })

  test.each([
    ['a refused request', { kind: 'status', status: 400 } as const, 'model-refused'],
    ['an answer that breaks off', { kind: 'cut' } as const, 'model-malformed'],
    ['an answer that cannot be read', { kind: 'malformed' } as const, 'model-malformed'],
  ])('ends at %s', async (_name, behaviour, kind) => {
    const { ask, usage } = await setUp(chain)
    server.script(behaviour)
    await expect(ask()).rejects.toMatchObject({ kind })
    expect(usage).toHaveLength(1)
  })

  test('fails with the last error and the earliest time at which any of its models may be asked again', async () => {
    const { ask, usage } = await setUp(chain)
    server.script(
      { kind: 'status', status: 429, headers: { 'retry-after': '30' } },
      { kind: 'status', status: 429, headers: { 'retry-after': '5' } },
      { kind: 'status', status: 503 },
    )
    await expect(ask()).rejects.toMatchObject({ kind: 'upstream-failed', status: 503, retryAfterMs: 5000 })
    expect(usage).toHaveLength(3)
  })

  test('never asks the simulated model', async () => {
    const fallbacks = [{ provider: 'offline', model: 'offline' }]
    const { ask } = await setUp({ provider: 'openai', model: 'first', fallbacks })
    server.script({ kind: 'status', status: 500 })
    await expect(ask()).rejects.toMatchObject({ kind: 'upstream-failed' })
  })
})

describe('a server that the tenant names', () => {
  const base_url = server.baseUrl('openai-compatible')

  test('is reached through the guard, with its own credential and no key of ours', async () => {
    const seen: (EgressOptions | undefined)[] = []
    const { ask, ctx, usage } = await setUp(
      { provider: 'openai-compatible', model: 'own', base_url, credential: 'my-models' },
      { egress: (request, options) => (seen.push(options), fetch(request)) },
    )
    expect(await ask()).toMatchObject({ text: 'Hello from the model.', cost_usd: null })
    expect(seen).toMatchObject([{ workspaceId: ctx.actor.workspaceId, credential: 'my-models', maxRedirects: 0 }])
    expect(JSON.stringify(server.requests[0]!.headers)).not.toContain(testKey)
    expect(usage[0]).toMatchObject({ status: 'ok', cost_usd: null, price: null })
  })

  test('fails for good where the guard refuses it', async () => {
    const { ask } = await setUp(
      { provider: 'openai-compatible', model: 'own', base_url },
      { egress: () => Promise.reject(new EgressError('egress-refused', '10.0.0.1 is a private address.')) },
    )
    await expect(ask()).rejects.toMatchObject({ kind: 'model-refused', retryable: false })
    expect(server.requests).toEqual([])
  })

  const failed = (code: string) =>
    new EgressError('egress-failed', 'No answer.', { cause: Object.assign(new Error(code), { code }) })
  test.each([
    ['was refused', new EgressError('egress-refused', '10.0.0.1 is a private address.'), '0'],
    ['found no server', failed('ENOTFOUND'), '0'],
    ['found nobody who listens', new TypeError('fetch failed', { cause: failed('ECONNREFUSED').cause }), '0'],
    ['was lost on the way', failed('ECONNRESET'), null],
    ['came to no end in time', new EgressError('egress-timeout', 'No complete answer.'), null],
    ['could not read its rules', new DatabaseAway(new Error('away')), 'none'],
  ])(
    'costs nothing where the call never left, and is charged where that is not known: it %s',
    async (_, error, cost) => {
      const { ctx, usage, ask } = await setUp(
        { provider: 'openai-compatible', model: 'own', base_url },
        { egress: () => Promise.reject(error) },
      )
      const { workspaceId } = ctx.actor
      await sql`insert into budgets (id, workspace_id, level, scope_id, limit_usd, period, unknown_price, window_start)
      values (${uuidv7()}, ${workspaceId}, 0, ${workspaceId}, 1, 'total', 'allow', app_now())`.execute(database.db)
      const thrown = await ask().catch((reason: unknown) => reason)
      expect(thrown instanceof DatabaseAway).toBe(cost === 'none')
      expect(usage.map(({ cost_usd }) => cost_usd)).toEqual(cost === 'none' ? [] : [cost])
      const { rows } = await sql`select calls, unpriced from budgets where workspace_id = ${workspaceId}`.execute(
        database.db,
      )
      expect(rows).toEqual([{ calls: 1, unpriced: cost === null ? 1 : 0 }])
    },
  )

  test('is refused for providers whose key would go with it', async () => {
    const { ask } = await setUp({ provider: 'openai', model: 'own', base_url })
    await expect(ask()).rejects.toMatchObject({ kind: 'model-not-configured' })
    expect(server.requests).toEqual([])
  })
})

describe('the price of a call', () => {
  const priced = async (prices: { cached?: string | null; limit?: number }) => {
    const model = `priced-${uuidv7()}`
    await database.db
      .insertInto('models')
      .values({
        id: uuidv7(),
        provider: 'openai',
        model,
        name: model,
        context_window: null,
        max_output_tokens: null,
        capabilities: jsonb([]),
        input_usd: '0.1',
        cached_input_usd: prices.cached === undefined ? '0.01' : prices.cached,
        cache_write_usd: null,
        output_usd: '0.7',
        price_limit_tokens: prices.limit ?? null,
        seed_hash: null,
      })
      .execute()
    return model
  }
  const costOf = async (model: string) => {
    const { ask, usage } = await setUp({ provider: 'openai', model })
    const { cost_usd } = await ask()
    return { cost_usd, price: usage[0]!.price }
  }

  test('is exact where floating point is not, and keeps the prices that made it', async () => {
    // 800 * 0.1 + 200 * 0.01 + 50 * 0.7, per million.
    expect(await costOf(await priced({}))).toEqual({
      cost_usd: '0.000117',
      price: {
        source: 'catalogue',
        input_usd: '0.1',
        cached_input_usd: '0.01',
        cache_write_usd: null,
        output_usd: '0.7',
        price_limit_tokens: null,
      },
    })
  })

  test('is unknown, not zero, where a price that it needs is unknown or does not hold', async () => {
    expect((await costOf('not-in-the-catalogue')).cost_usd).toBeNull()
    expect((await costOf(await priced({ cached: null }))).cost_usd).toBeNull()
    expect((await costOf(await priced({ limit: 999 }))).cost_usd).toBeNull()
    expect((await costOf(await priced({ limit: 1000 }))).cost_usd).toBe('0.000117')
  })
})

test('an aborted call is never made', async () => {
  const { ctx } = await setUp(chain)
  const request: ModelRequest = { choice: chain, system: null, messages: [{ role: 'user', text: 'Hi.' }], tools: [] }
  await expect(askModel(ctx, request, { signal: AbortSignal.abort(new Error('gone')) })).rejects.toThrow('gone')
  expect(server.requests).toEqual([])
})
