import { expect, test } from 'vitest'
import { uuidv7 } from '../../src/lib/ids.ts'
import { backfillsTick, schedulesTick } from '../../src/services/schedules.service.ts'
import { createTestApp, type Client } from '../support/app.ts'

const app = await createTestApp()
const { database } = app

const read = async <T>(response: Response): Promise<T> => (await response.json()) as T
interface Page<T> {
  items: T[]
  next_cursor: string | null
}

async function aSchedule(client: Client, more: object = {}) {
  const made = await client.post('/api/workflow-recipes', {
    name: `Recipe ${uuidv7()}`,
    steps: [{ id: 'one', kind: 'transform', value: 1 }],
  })
  const recipe = await read<{ id: string; slug: string }>(made)
  const response = await client.post('/api/schedules', { recipe_id: recipe.slug, cron: '* * * * *', ...more })
  expect(response.status).toBe(201)
  return { recipe, id: (await read<{ id: string }>(response)).id }
}

test('a backfill is taken on, read, listed and canceled', async () => {
  await database.shiftClock({ seconds: 0 })
  const { id } = await aSchedule(app)
  const at = (minutes: number) => new Date(Date.now() + minutes * 60_000).toISOString()
  const path = `/api/schedules/${id}/backfills`
  const created = await app.post(path, { from: at(-20), to: at(-10), concurrency: 3 })
  expect(created.status).toBe(201)
  const backfill = await read<{ id: string }>(created)
  expect(created.headers.get('location')).toBe(`${path}/${backfill.id}`)
  await backfillsTick(app.runtime)
  expect(await read(await app.get(`${path}/${backfill.id}`))).toMatchObject({
    status: 'running',
    slots: 10,
    fired: 3,
    remaining: 7,
    executions: { open: 3 },
  })
  expect((await app.post(path, { from: at(-5), to: at(-1) })).status).toBe(409)
  expect((await app.post(path, { from: at(-5), to: at(5) })).status).toBe(422)
  const canceled = await app.post(`${path}/${backfill.id}/cancel`, { cancel_executions: true })
  expect([canceled.status, (await read<{ status: string }>(canceled)).status]).toEqual([200, 'canceling'])
  await backfillsTick(app.runtime)
  expect((await read<Page<object>>(await app.get(path))).items).toMatchObject([
    { id: backfill.id, status: 'canceled', executions: { open: 0, canceled: 3 } },
  ])
  expect((await app.post(`${path}/${backfill.id}/cancel`)).status).toBe(200)
})

test('coming slots, the searched ledger and what was told are lists of the whole workspace', async () => {
  const client = await app.signIn()
  await database.shiftClock({ seconds: 0 })
  const { id, recipe } = await aSchedule(client, {
    misfire: 'skip',
    grace: 0,
    alerts: { url: 'https://alerts.example/hook' },
  })
  await database.shiftClock({ seconds: 3600 })
  await schedulesTick(app.runtime)
  const upcoming = await read<Page<{ schedule_id: string }>>(await client.get('/api/schedules/upcoming?limit=3'))
  expect(upcoming.items.map((slot) => slot.schedule_id)).toEqual([id, id, id])
  const ledger = await read<Page<object>>(
    await client.get(`/api/schedules/slots?state=missed,late&recipe_id=${recipe.slug}`),
  )
  expect(ledger.items).toMatchObject([{ schedule_id: id, recipe_id: recipe.id, status: 'missed', reason: 'misfire' }])
  const alerts = await read<Page<object>>(
    await client.get(`/api/schedules/alerts?schedule_id=${id}&type=schedule.slot_missed`),
  )
  expect(alerts.items).toMatchObject([{ type: 'schedule.slot_missed', delivery: { status: 'pending' } }])
  expect((await client.get('/api/schedules/slots?state=missed,odd')).status).toBe(422)
  expect((await client.get('/api/schedules/alerts?type=schedule.odd')).status).toBe(422)
  await database.shiftClock({ seconds: 0 })
})

test('alerts go in and come out as they were written', async () => {
  const alerts = {
    url: 'https://alerts.example/hook',
    auth: { credential: 'pager' },
    on: ['schedule.slot_missed'],
    late_after: 30,
  }
  const { id } = await aSchedule(app, { alerts })
  expect(await read(await app.get(`/api/schedules/${id}`))).toMatchObject({ alerts, overdue_since: null })
  const refused = await app.patch(`/api/schedules/${id}`, { alerts: { url: 'file:///etc/passwd' } })
  expect(refused.status).toBe(422)
})

test('a forecast is given for a schedule and before there is one', async () => {
  const { id, recipe } = await aSchedule(app)
  const forecast = await app.get(`/api/schedules/${id}/forecast?months=2`)
  expect(forecast.status).toBe(200)
  const body = await read<{ months: { runs: number }[]; per_run: object }>(forecast)
  expect(body.months).toHaveLength(2)
  expect(body.per_run).toMatchObject({ cost_usd: '0', basis: 'price_table' })
  const before = await app.post('/api/schedules/forecast', { recipe_id: recipe.slug, interval: '1h', months: 1 })
  expect([before.status, (await read<typeof body>(before)).months.length]).toEqual([200, 1])
  expect((await app.post('/api/schedules/forecast', { cron: 'at nine' })).status).toBe(422)
})

test('all schedules of a workspace are paused by one call, and none of another', async () => {
  const client = await app.signIn()
  const { id } = await aSchedule(client)
  const { id: foreign } = await aSchedule(app)
  expect(await read(await client.post('/api/schedules/pause', { all: true }))).toMatchObject({ changed: [{ id }] })
  expect(await read(await client.post('/api/schedules/resume', { ids: [id, foreign] }))).toMatchObject({
    changed: [{ id }],
    unknown: [foreign],
  })
  expect(await read(await app.get(`/api/schedules/${foreign}`))).toMatchObject({ paused: false })
  expect((await client.post('/api/schedules/pause', {})).status).toBe(422)
})

test('a ping address is shown once, needs no key, and can be changed and taken away in the state that was seen', async () => {
  const { id } = await aSchedule(app)
  const path = `/api/schedules/${id}/ping`
  expect((await app.get(path)).status).toBe(404)
  const created = await app.post(path, { period: '1d', grace: '1h' })
  expect([created.status, created.headers.get('cache-control')]).toEqual([201, 'no-store'])
  const { url } = await read<{ url: string }>(created)
  const seen = await app.get(path)
  expect(await seen.text()).not.toContain(url.slice(-20))

  const address = new URL(url).pathname
  const anybody = await app.app.request(address)
  expect(anybody.status).toBe(200)
  expect(Object.keys(await read<object>(anybody))).toEqual(['received_at'])
  expect((await app.app.request(address, { method: 'POST' })).status).toBe(200)
  expect((await app.app.request('/api/pings/nonsense')).status).toBe(404)
  const pinged = await app.get(path)
  expect(await read(pinged)).toMatchObject({ status: 'ok', period: 86_400, grace: 3600 })

  // A ping makes no edit stale.
  const etag = seen.headers.get('etag')!
  expect((await app.patch(path, { period: '2d' }, { 'if-match': etag })).status).toBe(200)
  expect((await app.patch(path, { period: '3d' }, { 'if-match': etag })).status).toBe(412)
  expect((await app.patch(path, { period: '0s' })).status).toBe(422)
  expect((await app.del(path, { 'if-match': etag })).status).toBe(412)
  expect((await app.del(path)).status).toBe(204)
  expect((await app.app.request(address)).status).toBe(404)
  expect(app.logged.map((line) => JSON.stringify(line)).join('\n')).not.toContain(address.slice(-20))
})

test("another workspace's schedule answers as one that never existed, in every operation", async () => {
  const { id } = await aSchedule(app)
  await app.post(`/api/schedules/${id}/ping`, { period: '1d' })
  const stranger = await app.signIn()
  const window = { from: '2020-01-01T00:00:00Z', to: '2020-01-02T00:00:00Z' }
  for (const [method, path, body] of [
    ['POST', '/backfills', window],
    ['GET', '/backfills'],
    ['GET', '/forecast'],
    ['POST', '/ping', { period: '1d' }],
    ['GET', '/ping'],
    ['PATCH', '/ping', { period: '2d' }],
    ['DELETE', '/ping'],
  ] as const)
    expect([method, path, (await stranger.request(method, `/api/schedules/${id}${path}`, body)).status]).toEqual([
      method,
      path,
      404,
    ])
  expect((await stranger.get(`/api/schedules/slots?schedule_id=${id}`)).status).toBe(404)
  expect(await read(await stranger.get(`/api/schedules/alerts?schedule_id=${id}`))).toMatchObject({ items: [] })
})

test.each([
  ['GET', '/api/schedules?recipe_id=%00', undefined, 422],
  ['GET', '/api/schedules/slots?recipe_id=a%00b', undefined, 422],
  ['GET', '/api/schedules/slots?reason=%00', undefined, 422],
  ['GET', '/api/schedules/slots?schedule_id=%00', undefined, 422],
  ['GET', '/api/schedules/slots?from=0000-01-01T00:00:00Z', undefined, 422],
  ['GET', '/api/schedules/upcoming?to=0000-01-01T00:00:00Z', undefined, 422],
  ['GET', '/api/schedules/upcoming?from=9999-12-31T00:00:00Z&to=9999-12-31T23:59:59Z', undefined, 200],
  ['GET', '/api/schedules/alerts?schedule_id=%00', undefined, 422],
  ['POST', '/api/schedules/forecast', { recipe_id: '\u0000', cron: '* * * * *' }, 422],
  ['POST', '/api/schedules', { recipe_id: '\u0000', cron: '* * * * *' }, 422],
  ['POST', '/api/schedules/pause', { recipe_id: '\ud800' }, 404],
  ['GET', '/api/pings/%00', undefined, 404],
] as const)('%s %s with hostile input is refused, not broken by it', async (method, path, body, status) => {
  expect((await app.request(method, path, body)).status).toBe(status)
})

test('a window of a backfill from before computers told the time is refused', async () => {
  const { id } = await aSchedule(app)
  const window = { from: '0000-01-01T00:00:00Z', to: '0001-01-01T00:00:00Z' }
  expect((await app.post(`/api/schedules/${id}/backfills`, window)).status).toBe(422)
})
