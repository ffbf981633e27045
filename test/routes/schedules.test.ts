import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { jsonb } from '../../src/db/json.ts'
import { uuidv7 } from '../../src/lib/ids.ts'
import { schedulesTick } from '../../src/services/schedules.service.ts'
import { createTestApp, type Client } from '../support/app.ts'

const app = await createTestApp()
const { db, signIn, database } = app

interface ScheduleBody {
  id: string
  status: string
  paused: boolean
  next_slots: { slot_at: string; local: string; dst_day: boolean; dst: string | null }[]
}
interface ProblemBody {
  errors: { pointer: string; detail: string }[]
}
const read = async <T>(response: Response): Promise<T> => (await response.json()) as T
const pointersOf = async (response: Response) =>
  (await read<ProblemBody>(response)).errors.map((e) => e.pointer).toSorted()

async function aRecipe({ workspaceId }: Client, inputs?: object): Promise<{ id: string; slug: string }> {
  const id = uuidv7()
  const slug = `recipe-${id.slice(-12)}`
  await db
    .insertInto('workflow_recipes')
    .values({ id, workspace_id: workspaceId, slug, name: 'A recipe', version: 1 })
    .execute()
  await db
    .insertInto('recipe_versions')
    .values({
      recipe_id: id,
      version: 1,
      workspace_id: workspaceId,
      definition: jsonb({ name: 'A recipe', steps: [], ...(inputs ? { inputs } : {}) }),
      hash: 'hash',
    })
    .execute()
  return { id, slug }
}

async function aSchedule(client: Client, more: object = {}) {
  const recipe = await aRecipe(client)
  const response = await client.post('/api/schedules', { recipe_id: recipe.slug, cron: '0 7 * * *', ...more })
  expect(response.status).toBe(201)
  return { recipe, schedule: await read<ScheduleBody>(response) }
}

test('creation answers the whole schedule with its defaults and the next five slots', async () => {
  const recipe = await aRecipe(app)
  const response = await app.post('/api/schedules', {
    recipe_id: recipe.slug,
    cron: '30 2 * * *',
    timezone: 'America/New_York',
  })
  expect(response.status).toBe(201)
  const schedule = await read<ScheduleBody>(response)
  expect(response.headers.get('location')).toBe(`/api/schedules/${schedule.id}`)
  expect(schedule).toMatchObject({
    recipe_id: recipe.id,
    name: 'default',
    cron: '30 2 * * *',
    interval: null,
    timezone: 'America/New_York',
    grace: 120,
    misfire: 'run_once',
    overlap: 'skip',
    dst: { gap: 'shift', fold: 'first' },
    jitter: 0,
    input_data: {},
    paused: false,
    status: 'active',
    fault: null,
  })
  expect(schedule.next_slots).toHaveLength(5)
  for (const slot of schedule.next_slots) expect(Date.parse(slot.local)).toBe(Date.parse(slot.slot_at))
  expect(await read(await app.get(`/api/schedules/${schedule.id}`))).toEqual(schedule)
})

test('all policies go in and come out as they were written; durations are texts or seconds', async () => {
  const { schedule } = await aSchedule(app, {
    cron: undefined,
    interval: '1h30m',
    grace: 60,
    jitter: '5m',
    misfire: { catch_up: 3 },
    overlap: 'cancel_previous',
    dst: { fold: 'both' },
    start_at: '2030-01-01T00:00:00+02:00',
    end_at: '2031-01-01T00:00:00Z',
  })
  expect(schedule).toMatchObject({
    cron: null,
    interval: 5400,
    grace: 60,
    jitter: 300,
    misfire: { catch_up: 3 },
    overlap: 'cancel_previous',
    dst: { gap: 'shift', fold: 'both' },
    start_at: '2029-12-31T22:00:00.000Z',
    end_at: '2031-01-01T00:00:00.000Z',
  })
  expect(schedule.next_slots.map((slot) => slot.slot_at).slice(0, 2)).toEqual([
    '2029-12-31T22:00:00.000Z',
    '2029-12-31T23:30:00.000Z',
  ])
})

test('every fault is reported at once, by pointer', async () => {
  const recipe = await aRecipe(app, {
    type: 'object',
    properties: { feed_url: { type: 'string' } },
    required: ['feed_url'],
  })
  const response = await app.post('/api/schedules', {
    recipe_id: recipe.id,
    cron: '0 25 * * *',
    timezone: 'Mars/Olympus',
    grace: 'soon',
    jitter: -1,
    start_at: '2030-01-01T00:00:00Z',
    end_at: '2029-01-01T00:00:00Z',
    input_data: { feed_url: 7 },
  })
  expect(response.status).toBe(422)
  expect(await pointersOf(response)).toEqual([
    '/cron',
    '/end_at',
    '/grace',
    '/input_data/feed_url',
    '/jitter',
    '/timezone',
  ])
})

test.each([
  ['neither cron nor interval', {}, '/cron'],
  ['both of them', { cron: '* * * * *', interval: 60 }, '/interval'],
  ['a date that never comes', { cron: '0 0 31 2 *' }, '/cron'],
  ['seven fields', { cron: '0 0 0 1 1 * 2030' }, '/cron'],
  ['less than a second', { interval: '500ms' }, '/interval'],
  ['a fraction of a second', { interval: 1.5 }, '/interval'],
  ['jitter as long as the interval', { interval: 60, jitter: 60 }, '/jitter'],
  ['jitter longer than the time between two slots', { cron: '*/10 * * * *', jitter: '10m' }, '/jitter'],
  [
    'an end before the first slot',
    { cron: '0 0 1 1 *', start_at: '2030-02-01T00:00:00Z', end_at: '2030-03-01T00:00:00Z' },
    '/end_at',
  ],
  ['a bare offset as zone', { cron: '0 7 * * *', timezone: '+02:00' }, '/timezone'],
])('%s is refused', async (_what, timing, pointer) => {
  const recipe = await aRecipe(app)
  const created = await app.post('/api/schedules', { recipe_id: recipe.id, ...timing })
  expect([created.status, await pointersOf(created)]).toEqual([422, [pointer]])
  const previewed = await app.post('/api/schedules/preview', timing)
  expect([previewed.status, await pointersOf(previewed)]).toEqual([422, [pointer]])
})

test('a second schedule of the same name is a conflict, one of another name is not', async () => {
  const { recipe, schedule } = await aSchedule(app)
  const body = { recipe_id: recipe.id, cron: '0 8 * * *' }
  expect((await app.post('/api/schedules', body)).status).toBe(409)
  expect((await app.post('/api/schedules', { ...body, name: 'second' })).status).toBe(201)
  expect((await app.patch(`/api/schedules/${schedule.id}`, { name: 'second' })).status).toBe(409)
  expect((await app.patch(`/api/schedules/${schedule.id}`, { name: 'third' })).status).toBe(200)
})

test('preview writes nothing and marks the days when the clocks change', async () => {
  const client = await signIn()
  const response = await client.post('/api/schedules/preview', {
    cron: '30 2 * * *',
    timezone: 'Europe/Berlin',
    start_at: '2031-03-29T00:00:00Z',
  })
  expect(response.status).toBe(200)
  const { next_slots } = await read<ScheduleBody>(response)
  expect(next_slots.slice(0, 3)).toEqual([
    { slot_at: '2031-03-29T01:30:00.000Z', local: '2031-03-29T02:30:00+01:00', dst_day: false, dst: null },
    { slot_at: '2031-03-30T01:00:00.000Z', local: '2031-03-30T03:00:00+02:00', dst_day: true, dst: 'shifted' },
    { slot_at: '2031-03-31T00:30:00.000Z', local: '2031-03-31T02:30:00+02:00', dst_day: false, dst: null },
  ])
  expect(await read(await client.get('/api/schedules'))).toEqual({ items: [], next_cursor: null })
})

test('a change keeps what it does not name, and a change of kind drops the other', async () => {
  const { schedule } = await aSchedule(app, { timezone: 'Asia/Kolkata', overlap: 'queue' })
  const path = `/api/schedules/${schedule.id}`
  const changed = await app.patch(path, { interval: '10m', end_at: '2099-01-01T00:00:00Z' })
  expect(changed.status).toBe(200)
  expect(await read(changed)).toMatchObject({ cron: null, interval: 600, timezone: 'Asia/Kolkata', overlap: 'queue' })
  expect(await read(await app.patch(path, { cron: '0 9 * * *', end_at: null }))).toMatchObject({
    cron: '0 9 * * *',
    interval: null,
    end_at: null,
  })
  expect((await app.patch(path, { cron: 'at nine' })).status).toBe(422)
  expect((await app.patch(path, { color: 'red' })).status).toBe(422)
})

test('pause and resume answer the schedule, and the pause ends up in the ledger', async () => {
  await database.shiftClock({ seconds: 0 })
  const { schedule } = await aSchedule(app, { cron: '* * * * *' })
  const path = `/api/schedules/${schedule.id}`
  expect(await read(await app.post(`${path}/pause`))).toMatchObject({ paused: true, status: 'paused' })
  await database.shiftClock({ seconds: 7200 })
  expect(await read(await app.post(`${path}/resume`))).toMatchObject({ paused: false, status: 'active' })
  const { items } = await read<{ items: object[] }>(await app.get(`${path}/slots`))
  expect(items).toEqual([
    expect.objectContaining({ status: 'skipped', reason: 'paused', count: 120, execution_id: null, fired_at: null }),
  ])
  await database.shiftClock({ seconds: 0 })
})

test('the ledger is paged, newest first, and names the execution of each slot', async () => {
  await database.shiftClock({ seconds: 0 })
  const { schedule } = await aSchedule(app, { cron: '* * * * *', overlap: 'allow', grace: '10m' })
  await database.shiftClock({ seconds: 300 })
  await schedulesTick(app.runtime)
  const path = `/api/schedules/${schedule.id}/slots`
  const seen: { slot_at: string; execution_id: string }[] = []
  let cursor: string | null = ''
  while (cursor !== null) {
    const query: string = cursor === '' ? '' : `&cursor=${cursor}`
    const page = await read<{ items: typeof seen; next_cursor: string | null }>(
      await app.get(`${path}?limit=2${query}`),
    )
    seen.push(...page.items)
    cursor = page.next_cursor
  }
  expect(seen.length).toBeGreaterThanOrEqual(5)
  const times = seen.map((slot) => slot.slot_at)
  expect(times).toEqual(times.toSorted().toReversed())
  const runs = await db.selectFrom('runs').select('id').where('schedule_id', '=', schedule.id).execute()
  expect(seen.map((slot) => slot.execution_id).toSorted()).toEqual(runs.map((run) => run.id).toSorted())
  await database.shiftClock({ seconds: 0 })
})

test('deletion takes the ledger along and leaves the runs', async () => {
  await database.shiftClock({ seconds: 0 })
  const { schedule } = await aSchedule(app, { cron: '* * * * *' })
  await database.shiftClock({ seconds: 90 })
  await schedulesTick(app.runtime)
  expect((await app.del(`/api/schedules/${schedule.id}`)).status).toBe(204)
  expect((await app.get(`/api/schedules/${schedule.id}`)).status).toBe(404)
  const count = async (table: 'schedule_slots' | 'runs') =>
    (
      await sql<{
        n: number
      }>`select count(*)::int as n from ${sql.table(table)} where schedule_id = ${schedule.id}`.execute(db)
    ).rows[0]?.n
  expect([await count('schedule_slots'), await count('runs')]).toEqual([0, 1])
  await database.shiftClock({ seconds: 0 })
})

test('lists are paged and can be narrowed to a recipe, by id and by slug', async () => {
  const client = await signIn()
  const { recipe, schedule } = await aSchedule(client)
  await aSchedule(client)
  const first = await read<{ items: ScheduleBody[]; next_cursor: string }>(await client.get('/api/schedules?limit=1'))
  const second = await read<{ items: ScheduleBody[]; next_cursor: string | null }>(
    await client.get(`/api/schedules?limit=1&cursor=${first.next_cursor}`),
  )
  expect(second.items[0]?.id).toBe(schedule.id)
  expect(second.next_cursor).toBeNull()
  for (const name of [recipe.id, recipe.slug]) {
    const { items } = await read<{ items: ScheduleBody[] }>(await client.get(`/api/schedules?recipe_id=${name}`))
    expect(items.map((item) => item.id)).toEqual([schedule.id])
  }
  expect((await client.get('/api/schedules?recipe_id=nothing-here')).status).toBe(404)
})

test("another workspace's schedule and recipe answer as ones that never existed", async () => {
  const { recipe, schedule } = await aSchedule(app)
  const stranger = await signIn()
  const missing = uuidv7()
  const bodyOf = async (response: Response) => {
    const { detail, instance, request_id: _, ...body } = await read<Record<string, unknown>>(response)
    return {
      ...body,
      detail: String(detail).replaceAll(/[0-9a-f-]{36}/g, 'ID'),
      instance: String(instance).replaceAll(/[0-9a-f-]{36}/g, 'ID'),
    }
  }
  const attempts: [string, string, object?][] = [
    ['GET', ''],
    ['PATCH', '', { overlap: 'allow' }],
    ['DELETE', ''],
    ['POST', '/pause'],
    ['POST', '/resume'],
    ['GET', '/slots'],
  ]
  for (const [method, rest, body] of attempts) {
    const foreign = await stranger.request(method, `/api/schedules/${schedule.id}${rest}`, body)
    const unknown = await stranger.request(method, `/api/schedules/${missing}${rest}`, body)
    expect([method, rest, foreign.status]).toEqual([method, rest, 404])
    expect(await bodyOf(foreign)).toEqual(await bodyOf(unknown))
  }
  expect((await stranger.post('/api/schedules', { recipe_id: recipe.id, cron: '0 7 * * *' })).status).toBe(404)
  expect((await stranger.get(`/api/schedules?recipe_id=${recipe.id}`)).status).toBe(404)
  expect(await read(await app.get(`/api/schedules/${schedule.id}`))).toMatchObject({ overlap: 'skip', paused: false })
})

test('reading takes schedules:read, changing takes schedules:write, and a stranger gets nothing', async () => {
  const { schedule } = await aSchedule(app)
  const reader = await signIn({ workspace: app.workspaceId, scopes: ['schedules:read'] })
  expect((await reader.get(`/api/schedules/${schedule.id}`)).status).toBe(200)
  expect((await reader.post('/api/schedules/preview', { cron: '0 7 * * *' })).status).toBe(200)
  expect((await reader.patch(`/api/schedules/${schedule.id}`, { overlap: 'allow' })).status).toBe(403)
  expect((await reader.post(`/api/schedules/${schedule.id}/pause`)).status).toBe(403)
  const writer = await signIn({ workspace: app.workspaceId, scopes: ['schedules:write'] })
  expect((await writer.post(`/api/schedules/${schedule.id}/pause`)).status).toBe(200)
  expect((await writer.get('/api/schedules')).status).toBe(403)
  expect((await app.app.request('/api/schedules')).status).toBe(401)
})

test('what starts executions takes the right to start them', async () => {
  const { recipe, schedule } = await aSchedule(app)
  const scopes = ['schedules:write', 'recipes:write', 'recipes:read']
  const writer = await signIn({ workspace: app.workspaceId, scopes })
  const at = `/api/schedules/${schedule.id}`
  const window = { from: '2026-01-01T00:00:00Z', to: '2026-01-02T00:00:00Z' }
  const steps = [{ id: 'one', kind: 'transform', value: 1 }]
  const timed = { name: 'Timed', steps, cron_schedule: '0 7 * * *' }
  for (const answer of [
    await writer.post('/api/schedules', { recipe_id: recipe.id, cron: '0 7 * * *', name: 'another' }),
    await writer.patch(at, { cron: '* * * * *' }),
    await writer.post(`${at}/resume`),
    await writer.post('/api/schedules/resume', { all: true }),
    await writer.post(`${at}/backfills`, window),
    await writer.post('/api/workflow-recipes', timed),
  ])
    expect([answer.status, await answer.json()]).toEqual([
      403,
      expect.objectContaining({ detail: 'This needs the permission recipes:execute.' }),
    ])
  const made = await read<{ id: string }>(await app.post('/api/workflow-recipes', timed))
  const change = (cron_schedule: string) => writer.put(`/api/workflow-recipes/${made.id}`, { ...timed, cron_schedule })
  expect((await change('0 7 * * *')).status, 'the schedule stays as it is').toBe(200)
  expect((await change('0 8 * * *')).status).toBe(403)
})
