import { afterAll, beforeEach, expect, test } from 'vitest'
import { jsonb } from '../../../src/db/json.ts'
import { resolveModel } from '../../../src/services/models/resolve.ts'
import { createTestDatabase } from '../../support/database.ts'
import { createServiceContext } from '../../support/service-context.ts'

const database = await createTestDatabase()
const { db } = database
afterAll(() => database.close())
beforeEach(() => db.deleteFrom('system_settings').execute())

const setSystem = (key: string, value: string) =>
  db
    .insertInto('system_settings')
    .values({ key, value: jsonb(value) })
    .execute()
const named = (provider: string, model: string) => expect.objectContaining({ provider, model })

test('takes request before workspace before system settings before environment', async () => {
  const ctx = await createServiceContext(database, { env: { LLM_PROVIDER: 'openai', LLM_MODEL: 'from-env' } })
  expect(await resolveModel(ctx, null)).toMatchObject({ choice: named('openai', 'from-env'), source: 'environment' })
  await setSystem('LLM_PROVIDER', 'google')
  await setSystem('LLM_MODEL', 'from-system')
  expect(await resolveModel(ctx, null)).toMatchObject({
    choice: named('google', 'from-system'),
    source: 'system_settings',
  })
  await db
    .updateTable('workspaces')
    .set({ settings: jsonb({ model: { provider: 'anthropic', model: 'from-workspace' } }) })
    .where('id', '=', ctx.actor.workspaceId)
    .execute()
  expect(await resolveModel(ctx, null)).toMatchObject({
    choice: named('anthropic', 'from-workspace'),
    source: 'workspace',
  })
  const choice = { provider: 'openrouter', model: 'from-request' }
  expect(await resolveModel(ctx, choice)).toMatchObject({ choice, source: 'request' })
})

test('takes the default model of a provider that is named alone', async () => {
  const ctx = await createServiceContext(database, { env: { LLM_MODEL: 'of-openai', OPENAI_API_KEY: 'k' } })
  await setSystem('LLM_PROVIDER', 'anthropic')
  expect((await resolveModel(ctx, null)).choice).toEqual(named('anthropic', 'claude-sonnet-5-5'))
})

test('takes the first provider that has a key where none is named', async () => {
  const ctx = await createServiceContext(database, { env: { GOOGLE_API_KEY: 'k', OPENROUTER_API_KEY: 'k' } })
  expect((await resolveModel(ctx, null)).choice.provider).toBe('google')
})

test('asks for a model where a server of unknown models is the only provider', async () => {
  const env = { LLM_PROVIDER: 'openai-compatible', OPENAI_COMPATIBLE_BASE_URL: 'http://localhost:11434/v1' }
  const ctx = await createServiceContext(database, { env })
  await expect(resolveModel(ctx, null)).rejects.toMatchObject({ kind: 'model-not-configured' })
  const complete = await createServiceContext(database, { env: { ...env, LLM_MODEL: 'llama' } })
  expect((await resolveModel(complete, null)).choice).toEqual(named('openai-compatible', 'llama'))
})

test('simulates only outside production, and only where no provider is configured', async () => {
  const development = await createServiceContext(database, { config: { environment: 'development' } })
  expect(await resolveModel(development, null)).toMatchObject({
    choice: named('offline', 'offline'),
    source: 'offline',
  })
  const production = await createServiceContext(database, { config: { environment: 'production' } })
  await expect(resolveModel(production, null)).rejects.toMatchObject({ kind: 'model-not-configured' })
})
