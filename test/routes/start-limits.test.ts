import { expect, test } from 'vitest'
import { schedulesTick } from '../../src/services/schedules.service.ts'
import { createTestApp, type Client } from '../support/app.ts'

const app = await createTestApp()
const { signIn, db, runtime } = app
type Body = { [key: string]: any }
const json = async (response: Response) => (await response.json()) as Body

let made = 0
async function aRecipe(client: Client, settings: object, more: object = {}): Promise<Body> {
  const steps = [{ id: 'hold', kind: 'wait', duration: '1h' }]
  const response = await client.post('/api/workflow-recipes', { name: `R ${++made}`, steps, settings, ...more })
  expect(response.status, JSON.stringify(await response.clone().json())).toBe(201)
  return json(response)
}
const execute = (client: Client, recipe: Body, body: object = {}, headers = {}) =>
  client.post(`/api/workflow-recipes/${recipe['slug']}/execute`, body, headers)
async function tickAt(seconds: number): Promise<void> {
  await app.database.shiftClock({ seconds })
  await schedulesTick(runtime)
  await app.database.shiftClock({ seconds: 0 })
}

test('a caller is told that its execution was skipped, debounced, or has no key', async () => {
  const client = await signIn()
  const skipping = await aRecipe(client, { concurrency: { limit: 1, on_conflict: 'skip' } })
  expect(await json(await execute(client, skipping))).toMatchObject({ status: 'queued' })
  const skipped = await execute(client, skipping)
  expect([skipped.status, await json(skipped)]).toMatchObject([202, { status: 'canceled' }])
  const debounced = await aRecipe(client, { debounce: { period: '1m' } })
  const { id } = await json(await execute(client, debounced))
  expect(await json(await execute(client, debounced))).toMatchObject({ id, debounced: true })
  expect(await json(await client.get(`/api/executions/${id}`))).toMatchObject({ waits_for: { reason: 'debounce' } })
  const keyed = await aRecipe(client, { concurrency: { limit: 1, key: '{{ input.k }}' } })
  const refused = await execute(client, keyed)
  expect([refused.status, await json(refused)]).toMatchObject([
    422,
    { errors: [{ detail: expect.stringContaining('settings.concurrency.key') }] },
  ])
  const stats = await json(await client.get('/api/executions/stats'))
  expect(stats['now']).toMatchObject({ blocked: 0, delayed: 1 })
})

test('a slot whose run is skipped says so, and a key without a value fails the run where all can see it', async () => {
  const client = await signIn()
  const recipe = await aRecipe(client, { concurrency: { limit: 1, on_conflict: 'skip' }, priority: 3 })
  expect((await execute(client, recipe, { priority: 9 })).status).toBe(202)
  const schedule = async (recipeId: string, more: object = {}) =>
    json(await client.post('/api/schedules', { recipe_id: recipeId, cron: '* * * * *', overlap: 'allow', ...more }))
  const { id } = await schedule(recipe['id'], { priority: 20 })
  const keyed = await aRecipe(client, { concurrency: { limit: 1, key: '{{ input.k }}' } })
  const { id: faulty } = await schedule(keyed['id'])
  await tickAt(61)
  const slots = (await json(await client.get(`/api/schedules/${id}/slots`)))['items'] as Body[]
  expect(slots[0]).toMatchObject({ status: 'skipped', reason: 'concurrency', execution_id: expect.any(String) })
  const run = await json(await client.get(`/api/executions/${slots[0]!['execution_id']}`))
  expect(run).toMatchObject({ status: 'canceled', priority: 20, error: { kind: 'skipped' } })
  const [failed] = (await json(await client.get(`/api/executions?schedule_id=${faulty}`)))['items'] as Body[]
  expect(failed).toMatchObject({ status: 'failed', error: { kind: 'start_key' } })
  await db.updateTable('schedules').set({ next_fire_at: null }).where('workspace_id', '=', client.workspaceId).execute()
})

test('a webhook answers the run that took its delivery in, and its log tells of each', async () => {
  const client = await signIn()
  const recipe = await aRecipe(client, { debounce: { period: '1m', key: '{{ trigger.webhook_name }}' } })
  const hook = await json(
    await client.post('/api/webhooks', { recipe_id: recipe['id'], auth: { mode: 'header_token' }, priority: 4 }),
  )
  const deliver = (body: object) =>
    app.app.request(`/api/webhooks/recipe/${hook['id']}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-webhook-token': hook['secret'] },
      body: JSON.stringify(body),
    })
  const first = await json(await deliver({ n: 1 }))
  const second = await json(await deliver({ n: 2 }))
  expect(first).not.toHaveProperty('debounced')
  expect(second).toMatchObject({ verdict: 'accepted', execution_id: first['execution_id'], debounced: true })
  const run = await json(await client.get(`/api/executions/${first['execution_id']}`))
  expect(run).toMatchObject({ input: { n: 2 }, priority: 4 })
  const log = (await json(await client.get(`/api/webhooks/${hook['id']}/deliveries`)))['items'] as Body[]
  expect(log.map((receipt) => receipt['execution_id'])).toEqual([run['id'], run['id']])
})

test('a workspace says how many executions may run at a time, under If-Match', async () => {
  const client = await signIn()
  const path = '/api/workspaces/current'
  const etag = (await client.get(path)).headers.get('etag')!
  const settings = { concurrent_executions: 2 }
  const changed = await client.patch(path, { settings }, { 'if-match': etag })
  expect([changed.status, await json(changed)]).toMatchObject([200, { settings }])
  expect((await client.patch(path, { settings: { concurrent_executions: 3 } }, { 'if-match': etag })).status).toBe(412)
  expect((await client.patch(path, { settings: { concurrent_executions: 0 } })).status).toBe(422)
  const limits = () =>
    db.selectFrom('workspace_limits').select('runs').where('workspace_id', '=', client.workspaceId).execute()
  expect(await limits()).toEqual([{ runs: 2 }])
  await client.patch(path, { settings: { concurrent_executions: null } })
  expect(await limits()).toEqual([])
})
