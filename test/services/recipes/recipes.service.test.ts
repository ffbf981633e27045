import { sql } from 'kysely'
import { afterAll, expect, test } from 'vitest'
import { AppError } from '../../../src/lib/errors.ts'
import {
  createRecipe,
  deleteRecipe,
  diffVersions,
  getRecipe,
  getVersion,
  listVersions,
  loadRecipeForRun,
  restoreVersion,
  updateRecipe,
} from '../../../src/services/recipes.service.ts'
import { updateSchedule } from '../../../src/services/schedules.service.ts'
import { createTestDatabase } from '../../support/database.ts'
import { createServiceContext } from '../../support/service-context.ts'

const database = await createTestDatabase()
afterAll(() => database.close())
const { db } = database
const transform = (id: string, value: unknown = 1) => ({ id, kind: 'transform', value })
const recipe = (more: object = {}) => ({ name: 'A recipe', steps: [transform('a')], ...more })
const kindOf = (work: Promise<unknown>) =>
  work.then(
    () => 'no error',
    (error: unknown) => (error instanceof AppError ? error.kind : String(error)),
  )

test('twenty saves at once make versions 2 to 21, once each', async () => {
  const ctx = await createServiceContext(database)
  const { id } = await createRecipe(ctx, recipe())
  const saved = await Promise.all(
    Array.from({ length: 20 }, (_, n) => updateRecipe(ctx, id, { steps: [transform('a', `save ${n}`)] })),
  )
  expect(saved.map(({ version }) => version).toSorted((a, b) => a - b)).toEqual(
    Array.from({ length: 20 }, (_, n) => n + 2),
  )
  const { items } = await listVersions(ctx, id, { limit: 50 })
  expect(items).toHaveLength(21)
  expect(new Set(items.map(({ hash }) => hash)).size).toBe(21)
  const latest = await getRecipe(ctx, id)
  expect(latest.version).toBe(21)
  expect(latest.steps).toEqual(saved.find(({ version }) => version === 21)!.steps)
})

test('equal saves at once make one version', async () => {
  const ctx = await createServiceContext(database)
  const { id } = await createRecipe(ctx, recipe())
  const saved = await Promise.all(Array.from({ length: 5 }, () => updateRecipe(ctx, id, { steps: [transform('b')] })))
  expect(new Set(saved.map(({ version }) => version))).toEqual(new Set([2]))
})

test('recipes of one name made at once get slugs of their own', async () => {
  const ctx = await createServiceContext(database)
  const made = await Promise.all(Array.from({ length: 25 }, () => createRecipe(ctx, recipe({ name: 'Crowd' }))))
  const slugs = made.map(({ slug }) => slug)
  expect(new Set(slugs).size).toBe(25)
  expect(slugs).toEqual(expect.arrayContaining(['crowd', 'crowd-2', 'crowd-20']))
})

test('one of two that race for a slug gets it, the other a conflict', async () => {
  const ctx = await createServiceContext(database)
  const outcomes = await Promise.all([1, 2].map(() => kindOf(createRecipe(ctx, recipe({ slug: 'the-one' })))))
  expect(outcomes.toSorted()).toEqual(['conflict', 'no error'])
})

test.each([
  ['Ärger & Übermut', 'arger-ubermut'],
  ['2026 in review', 'in-review'],
  ['今日のニュース', 'recipe'],
  ['Validate', 'recipe-validate'],
  ['x', 'recipe-x'],
])('the name %s gives the slug %s', async (name, slug) => {
  const ctx = await createServiceContext(database)
  expect((await createRecipe(ctx, recipe({ name }))).slug).toBe(slug)
})

test('a workspace sees and changes its own recipes only, even under an equal slug', async () => {
  const [mine, theirs] = [await createServiceContext(database), await createServiceContext(database)]
  const ours = await createRecipe(mine, recipe({ slug: 'shared-name' }))
  const other = await createRecipe(theirs, recipe({ slug: 'shared-name', steps: [transform('other')] }))
  expect((await getRecipe(theirs, 'shared-name')).id).toBe(other.id)
  for (const work of [
    () => getRecipe(theirs, ours.id),
    () => updateRecipe(theirs, ours.id, { name: 'Taken over' }),
    () => deleteRecipe(theirs, ours.id),
    () => listVersions(theirs, ours.id, { limit: 5 }),
    () => getVersion(theirs, ours.id, 1),
    () => diffVersions(theirs, ours.id, { from: 1 }),
    () => restoreVersion(theirs, ours.id, 1),
  ]) {
    expect(await kindOf(work())).toBe('not-found')
  }
  expect(await loadRecipeForRun(db, theirs.actor.workspaceId, ours.id)).toBeNull()
  expect(await getRecipe(mine, ours.id)).toMatchObject({ name: 'A recipe', version: 1 })
})

test('a run is given the latest version, by slug or id, and nothing once the recipe is deleted', async () => {
  const ctx = await createServiceContext(database)
  const { id, slug } = await createRecipe(ctx, recipe({ $schema: 'https://x.example/schemas/recipe.json' }))
  await updateRecipe(ctx, id, { steps: [transform('b')] })
  const expected = { id, slug, version: 2, definition: { name: 'A recipe', steps: [transform('b')] } }
  for (const ref of [id, slug]) expect(await loadRecipeForRun(db, ctx.actor.workspaceId, ref)).toEqual(expected)
  await deleteRecipe(ctx, slug)
  for (const ref of [id, slug]) expect(await loadRecipeForRun(db, ctx.actor.workspaceId, ref)).toBeNull()
})

test('versions stay as they were, whatever is saved later', async () => {
  const ctx = await createServiceContext(database)
  const { id } = await createRecipe(ctx, recipe())
  const before = await getVersion(ctx, id, 1)
  await updateRecipe(ctx, id, { name: 'Renamed', steps: [transform('z')] })
  expect(await getVersion(ctx, id, 1)).toEqual(before)
  expect(before.created_by).toBe(`key:${ctx.actor.id}`)
})

test('restoring the version that is the latest makes none', async () => {
  const ctx = await createServiceContext(database)
  const { id } = await createRecipe(ctx, recipe())
  expect((await restoreVersion(ctx, id, 1)).version).toBe(1)
})

test('deleting a recipe ends its schedules', async () => {
  const ctx = await createServiceContext(database)
  let told = 0
  ctx.wake.schedulesChanged = () => void told++
  const { id } = await createRecipe(ctx, recipe({ cron_schedule: '* * * * *' }))
  const schedules = () => db.selectFrom('schedules').selectAll().where('recipe_id', '=', id).execute()
  expect(await schedules()).toHaveLength(1)
  await deleteRecipe(ctx, id)
  expect(await schedules()).toEqual([])
  expect(told).toBe(2)
})

test('saves of a recipe and of its schedule at once do not lock each other out', async () => {
  const ctx = await createServiceContext(database)
  const { id } = await createRecipe(ctx, recipe({ cron_schedule: '0 7 * * *', inputs: { type: 'object' } }))
  const { id: scheduleId } = await db
    .selectFrom('schedules')
    .select('id')
    .where('recipe_id', '=', id)
    .executeTakeFirstOrThrow()
  const outcomes = await Promise.all(
    Array.from({ length: 15 }, (_, n) => [
      kindOf(updateRecipe(ctx, id, { cron_schedule: `${n} 8 * * *` })),
      kindOf(updateSchedule(ctx, { id: scheduleId, input_data: { n } })),
    ]).flat(),
  )
  expect(new Set(outcomes)).toEqual(new Set(['no error']))
})

test('a schedule that cannot be made leaves no recipe behind', async () => {
  const ctx = await createServiceContext(database)
  const inputs = { type: 'object', properties: { url: { type: 'string' } }, required: ['url'] }
  expect(await kindOf(createRecipe(ctx, recipe({ slug: 'half', inputs, cron_schedule: '0 7 * * *' })))).toBe('invalid')
  expect(await kindOf(getRecipe(ctx, 'half'))).toBe('not-found')
})

test('texts that a database refuses survive a save', async () => {
  const ctx = await createServiceContext(database)
  const { id } = await createRecipe(ctx, recipe({ steps: [transform('a', 'nul \u0000, lone \ud800')] }))
  expect((await getRecipe(ctx, id)).steps).toEqual([transform('a', 'nul \\u0000, lone \\ud800')])
})

test('a diff tells added, removed, moved and changed steps apart', async () => {
  const ctx = await createServiceContext(database)
  const inner = (value: number) => ({
    id: 'each',
    kind: 'foreach',
    items: [1],
    as: 'item',
    steps: [transform('in', value)],
  })
  const { id } = await createRecipe(
    ctx,
    recipe({ steps: [transform('a'), inner(1), transform('gone'), transform('z')], description: 'Old' }),
  )
  await updateRecipe(ctx, id, {
    steps: [transform('new'), transform('z'), inner(2), transform('a')],
    description: null,
    output: 0,
  })
  const { changes } = await diffVersions(ctx, id, { from: 1, to: 2 })
  expect(changes.toSorted((a, b) => (a.op + a.pointer < b.op + b.pointer ? -1 : 1))).toEqual([
    { op: 'add', pointer: '/output', to: 0 },
    { op: 'add', pointer: '/steps/0', to: transform('new') },
    { op: 'move', pointer: '/steps/1', from_pointer: '/steps/3' },
    { op: 'move', pointer: '/steps/3', from_pointer: '/steps/0' },
    { op: 'remove', pointer: '/description', from: 'Old' },
    { op: 'remove', pointer: '/steps/2', from: transform('gone') },
    { op: 'replace', pointer: '/steps/2/steps/0/value', from: 1, to: 2 },
  ])
})

test("time is the database's", async () => {
  const own = await createTestDatabase()
  try {
    await own.shiftClock({ seconds: 86_400 * 365 })
    const ctx = await createServiceContext(own)
    const { created_at } = await createRecipe(ctx, recipe())
    const { rows } = await sql<{ now: Date }>`select app_now() as now`.execute(own.db)
    expect(Math.abs(Date.parse(created_at) - rows[0]!.now.getTime())).toBeLessThan(60_000)
  } finally {
    await own.close()
  }
})
