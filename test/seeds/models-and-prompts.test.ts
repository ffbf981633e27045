import { afterAll, expect, test } from 'vitest'
import type { Runtime } from '../../src/context.ts'
import { systemPromptsSeed } from '../../src/seeds/0002-system-prompts.seed.ts'
import { modelsSeed } from '../../src/seeds/0003-models.seed.ts'
import { seedModels } from '../../src/seeds/models.data.ts'
import { seedHash } from '../../src/seeds/seed-hash.ts'
import { seedPrompts } from '../../src/seeds/system-prompts.data.ts'
import { providers } from '../../src/services/models/providers.ts'
import { createTestDatabase } from '../support/database.ts'

const { db, close } = await createTestDatabase()
afterAll(close)
/** Seeds of data use the database alone. */
const runtime = { db } as Runtime

const seedAll = async () => {
  await systemPromptsSeed.run(runtime)
  await modelsSeed.run(runtime)
}

test('brings fifteen system prompts and a catalogue in which each default model is found', async () => {
  await seedAll()
  const prompts = await db.selectFrom('system_prompts').select(['slug', 'content']).execute()
  expect(prompts).toHaveLength(15)
  expect(prompts.map(({ slug }) => slug)).toContain('agent-default')
  expect(prompts.every(({ content }) => content.length > 100)).toBe(true)
  const models = await db.selectFrom('models').select(['provider', 'model', 'input_usd']).execute()
  expect(models).toHaveLength(seedModels.length)
  for (const { id, defaultModel } of providers.filter((provider) => provider.defaultModel !== null)) {
    expect(models).toContainEqual(expect.objectContaining({ provider: id, model: defaultModel }))
  }
  expect(models.find(({ model }) => model === 'claude-sonnet-5-5')).toMatchObject({ input_usd: '2' })
})

test('changes nothing when it runs again, from two processes at once too', async () => {
  await seedAll()
  const read = async () => ({
    prompts: await db.selectFrom('system_prompts').selectAll().orderBy('slug').execute(),
    models: await db.selectFrom('models').selectAll().orderBy('id').execute(),
  })
  const before = await read()
  await Promise.all([seedAll(), seedAll()])
  expect(await read()).toEqual(before)
})

test('brings a newer text and price to rows that nobody touched, and leaves edited ones alone', async () => {
  await seedAll()
  const [touched, untouched] = seedPrompts
  // What an older version of the product has stored, hash included.
  const older = { name: 'Older', purpose: 'Older', content: 'Older' }
  await db
    .updateTable('system_prompts')
    .set({ ...older, seed_hash: seedHash(older) })
    .where('slug', '=', untouched!.slug)
    .execute()
  await db.updateTable('system_prompts').set({ content: 'Mine.' }).where('slug', '=', touched!.slug).execute()
  await db.updateTable('models').set({ input_usd: '99' }).where('model', '=', 'gpt-5.5').execute()
  await db.updateTable('models').set({ input_usd: null }).where('model', '=', 'gpt-5.4').execute()

  await seedAll()
  const content = async (slug: string) =>
    (await db.selectFrom('system_prompts').select('content').where('slug', '=', slug).executeTakeFirstOrThrow()).content
  expect(await content(touched!.slug)).toBe('Mine.')
  expect(await content(untouched!.slug)).toBe(untouched!.content)
  const price = async (model: string) =>
    (await db.selectFrom('models').select('input_usd').where('model', '=', model).executeTakeFirstOrThrow()).input_usd
  expect(await price('gpt-5.5')).toBe('99')
  expect(await price('gpt-5.4')).toBeNull()
})
