import { afterAll, expect, test } from 'vitest'
import type { AppError } from '../../../src/lib/errors.ts'
import { upsertDefaultSchedule, updateSchedule } from '../../../src/services/schedules.service.ts'
import { aRecipe, createWorkbench } from './fixture.ts'

const bench = await createWorkbench()
const { db, ctx } = bench
afterAll(() => bench.close())

const upsert = (input: { recipeId: string; cron: string | null; timezone?: string }) =>
  db.transaction().execute((tx) => upsertDefaultSchedule(tx, ctx, input))
const schedulesOf = (recipeId: string) =>
  db.selectFrom('schedules').selectAll().where('recipe_id', '=', recipeId).execute()

test('makes the schedule named default, changes it, and null removes it', async () => {
  const recipeId = await aRecipe(bench)
  const made = await upsert({ recipeId, cron: '0 7 * * *', timezone: 'Europe/Berlin' })
  expect(made).toMatchObject({ name: 'default', cron: '0 7 * * *', timezone: 'Europe/Berlin', recipe_id: recipeId })
  const changed = await upsert({ recipeId, cron: '0 8 * * *' })
  expect(changed).toMatchObject({ id: made!.id, cron: '0 8 * * *', timezone: 'Europe/Berlin' })
  expect(await upsert({ recipeId, cron: null })).toBeNull()
  expect(await schedulesOf(recipeId)).toEqual([])
  expect(await upsert({ recipeId, cron: null })).toBeNull()
})

test('keeps the settings that the schedule got otherwise', async () => {
  const recipeId = await aRecipe(bench)
  const made = await upsert({ recipeId, cron: '0 7 * * *' })
  await updateSchedule(ctx, { id: made!.id, overlap: 'queue', input_data: { kept: true }, paused: true })
  expect(await upsert({ recipeId, cron: '0 9 * * *' })).toMatchObject({
    cron: '0 9 * * *',
    overlap: 'queue',
    input_data: { kept: true },
    paused: true,
  })
})

test('belongs to the transaction of its caller', async () => {
  const recipeId = await aRecipe(bench)
  const failing = db.transaction().execute(async (tx) => {
    await upsertDefaultSchedule(tx, ctx, { recipeId, cron: '0 7 * * *' })
    throw new Error('the recipe was not saved')
  })
  await expect(failing).rejects.toThrow('the recipe was not saved')
  expect(await schedulesOf(recipeId)).toEqual([])
})

test('faults point at the fields of the recipe', async () => {
  const recipeId = await aRecipe(bench)
  const failure = await upsert({ recipeId, cron: 'at nine', timezone: 'Mars/Olympus' }).catch(
    (error: AppError) => error,
  )
  expect((failure as AppError).errors?.map((fault) => fault.pointer).toSorted()).toEqual([
    '/cron_schedule',
    '/timezone',
  ])
})

test('is refused where the recipe asks for inputs that a schedule would not give', async () => {
  const recipeId = await aRecipe(bench, {
    inputs: { type: 'object', properties: { feed_url: { type: 'string' } }, required: ['feed_url'] },
  })
  const failure = await upsert({ recipeId, cron: '0 7 * * *' }).catch((error: AppError) => error)
  expect(failure).toMatchObject({ kind: 'invalid', errors: [{ pointer: '/cron_schedule' }] })
  expect(await schedulesOf(recipeId)).toEqual([])
})

test("leaves another workspace's recipe alone", async () => {
  const recipeId = await aRecipe(bench)
  const stranger = { actor: { ...ctx.actor, workspaceId: crypto.randomUUID() } }
  const attempt = db.transaction().execute((tx) => upsertDefaultSchedule(tx, stranger, { recipeId, cron: '0 7 * * *' }))
  await expect(attempt).rejects.toMatchObject({ kind: 'not-found' })
})
