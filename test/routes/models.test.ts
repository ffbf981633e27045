import { afterAll, describe, expect, test } from 'vitest'
import { parseConfig } from '../../src/config.ts'
import type { Runtime } from '../../src/context.ts'
import { modelsSeed } from '../../src/seeds/0003-models.seed.ts'
import { createTestDatabase } from '../support/database.ts'
import { createTestApp, testConfig } from '../support/app.ts'
import { startProviderServer } from '../support/provider-server.ts'

const server = await startProviderServer()
const database = await createTestDatabase()
await modelsSeed.run({ db: database.db } as Runtime)
const bare = await createTestApp({ database })
const { openaiApiKey, openaiBaseUrl } = parseConfig(server.env)
const configured = await createTestApp({ database, config: { openaiApiKey, openaiBaseUrl } })
const production = await createTestApp({ database, config: { ...testConfig(), environment: 'production' } })
afterAll(async () => {
  await server.close()
  await database.close()
})

interface Listed {
  provider: string
  model: string
  available: boolean
  output_usd: string | null
}
const list = async (app: typeof bare, query = '') =>
  (await (await app.get(`/api/models${query}`)).json()) as { items: Listed[]; next_cursor: string | null }

describe('models', () => {
  test('are listed with prices, and say whether this server has access to them', async () => {
    const all = (await list(configured, '?limit=200')).items
    expect(all.find(({ model }) => model === 'gpt-5.4')).toMatchObject({
      provider: 'openai',
      available: true,
      output_usd: '15',
    })
    expect(all.find(({ provider }) => provider === 'anthropic')!.available).toBe(false)
    const some = (await list(configured, '?provider=google')).items
    expect(new Set(some.map(({ provider }) => provider))).toEqual(new Set(['google']))
    const first = await list(configured, '?limit=2')
    const second = await list(configured, `?limit=2&cursor=${first.next_cursor}`)
    expect(new Set([...first.items, ...second.items].map(({ model }) => model)).size).toBe(4)
  })

  test('tell which of them answers by default, and why', async () => {
    expect(await (await configured.get('/api/models/default')).json()).toEqual({
      provider: 'openai',
      model: 'gpt-6.1-terra',
      source: 'environment',
      reason: 'It is the first provider that is configured (OPENAI_API_KEY).',
      available: true,
      simulated: false,
    })
    expect(await (await bare.get('/api/models/default')).json()).toMatchObject({
      provider: 'offline',
      source: 'offline',
      simulated: true,
    })
    const refused = await production.get('/api/models/default')
    expect(refused.status).toBe(503)
    expect(await refused.json()).toMatchObject({ type: expect.stringContaining('model-not-configured') })
  })

  test('can be tried with one real call, which is accounted for', async () => {
    const response = await configured.post('/api/models/test', { provider: 'openai', model: 'gpt-5.4' })
    expect(response.status).toBe(200)
    // 800 * 2.50 + 200 * 0.25 + 50 * 15, per million.
    expect(await response.json()).toMatchObject({
      text: 'Hello from the model.',
      cost_usd: '0.0028',
      provider: 'openai',
    })
    const rows = await database.db
      .selectFrom('model_usage')
      .selectAll()
      .where('workspace_id', '=', configured.workspaceId)
      .execute()
    expect(rows).toMatchObject([{ model: 'gpt-5.4', status: 'ok', cost_usd: '0.0028', key_id: configured.keyId }])
  })

  test('answer a failed try with a problem, and account for it too', async () => {
    const client = await configured.signIn()
    server.script({ kind: 'status', status: 429, headers: { 'retry-after': '9' } })
    const limited = await client.post('/api/models/test', { provider: 'openai' })
    expect([limited.status, limited.headers.get('retry-after')]).toEqual([429, '9'])
    server.script({ kind: 'status', status: 500 })
    expect((await client.post('/api/models/test')).status).toBe(502)
    expect((await client.post('/api/models/test', { provider: 'anthropic' })).status).toBe(503)
    const rows = await database.db
      .selectFrom('model_usage')
      .select(['status', 'error', 'cost_usd'])
      .where('workspace_id', '=', client.workspaceId)
      .orderBy('created_at')
      .orderBy('id')
      .execute()
    expect(rows).toEqual([
      { status: 'error', error: 'model-rate-limited', cost_usd: '0' },
      { status: 'error', error: 'upstream-failed', cost_usd: '0' },
    ])
  })

  test('are refused by pointer where they cannot be asked', async () => {
    for (const [body, pointer] of [
      [{ provider: 'acme' }, '/provider'],
      [{ model: 'm' }, '/provider'],
      [{ provider: 'openai-compatible' }, '/model'],
    ] as const) {
      const refused = await bare.post('/api/models/test', body)
      expect(refused.status).toBe(422)
      expect(await refused.json()).toMatchObject({ errors: [{ pointer }] })
    }
  })

  test('need permission: reading to read, executing to try', async () => {
    const reader = await bare.signIn({ scopes: ['models:read'] })
    expect((await reader.get('/api/models')).status).toBe(200)
    expect((await reader.post('/api/models/test')).status).toBe(403)
    expect((await bare.app.request('/api/models')).status).toBe(401)
  })
})
