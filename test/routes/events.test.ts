import { expect, test } from 'vitest'
import { jsonb } from '../../src/db/json.ts'
import { uuidv7 } from '../../src/lib/ids.ts'
import { engineOf, runsService } from '../../src/services/runs/index.ts'
import { eventsService } from '../../src/services/signals/events-tick.ts'
import { createTestApp } from '../support/app.ts'

const owner = await createTestApp()
const { post, get, runtime, signIn, db } = owner

async function work() {
  await runsService.tick(runtime)
  await engineOf(runtime).idle()
}
const json = async <T = Record<string, unknown>>(response: Response) => (await response.json()) as T

/** A run that waits for an event of a name that no other test knows. */
async function waiting(rest: object = {}): Promise<{ execution: string; name: string }> {
  const name = `event.${crypto.randomUUID()}`
  const slug = `wait-${crypto.randomUUID().slice(0, 8)}`
  const steps = [{ id: 'it', kind: 'wait', event: name, ...rest }]
  const made = await post('/api/workflow-recipes', { name: 'Waits', slug, steps })
  expect(made.status, await made.clone().text()).toBe(201)
  const { id } = await json<{ id: string }>(await post(`/api/workflow-recipes/${slug}/execute`, {}))
  await work()
  return { execution: id, name }
}
const executionOf = async (id: string) => json<{ status: string; output: unknown }>(await get(`/api/executions/${id}`))

test('an event of the workspace ends the waits for it, and says how many', async () => {
  const { execution, name } = await waiting()
  expect(await executionOf(execution)).toMatchObject({ status: 'waiting' })
  const sent = await post('/api/events', { name, payload: { n: 1 } })
  expect(sent.status).toBe(202)
  expect(await json(sent)).toMatchObject({ name, execution_id: null, delivered: 1 })
  await work()
  expect(await executionOf(execution)).toMatchObject({ status: 'succeeded', output: { n: 1 } })
})

test('a signal is for one execution', async () => {
  const { execution, name } = await waiting()
  const sent = await post(`/api/executions/${execution}/signals`, { name, payload: 'yours' })
  expect(sent.status).toBe(202)
  expect(await json(sent)).toMatchObject({ execution_id: execution, delivered: 1 })
  await work()
  expect(await executionOf(execution)).toMatchObject({ status: 'succeeded', output: 'yours' })
  const late = await post(`/api/executions/${execution}/signals`, { name })
  expect(late.status).toBe(409)
})

test('the same key sends one event, and another request with it is refused', async () => {
  const name = `event.${crypto.randomUUID()}`
  const key = { 'idempotency-key': crypto.randomUUID() }
  const [first, second] = await Promise.all([
    post('/api/events', { name, payload: 1 }, key),
    post('/api/events', { name, payload: 1 }, key),
  ])
  expect([first.status, second.status]).toEqual([202, 202])
  expect((await json(first))['id']).toBe((await json(second))['id'])
  const other = await post('/api/events', { name, payload: 2 }, key)
  expect(other.status).toBe(422)
  expect(await json(other)).toMatchObject({ type: '/problems/idempotency-key-reused' })
})

test('says what is wrong with an event', async () => {
  for (const body of [{ name: '' }, { name: 'two words' }, { name: 'a', keep: 'long' }, { name: 'a', keep: '60d' }, {}])
    expect((await post('/api/events', body)).status, JSON.stringify(body)).toBe(422)
})

test("another workspace's execution is not there, and its waits hear nothing", async () => {
  const { execution, name } = await waiting()
  const stranger = await signIn()
  expect((await stranger.post(`/api/executions/${execution}/signals`, { name })).status).toBe(404)
  expect(await json(await stranger.post('/api/events', { name }))).toMatchObject({ delivered: 0 })
  await work()
  expect(await executionOf(execution)).toMatchObject({ status: 'waiting' })
})

test('sending takes a permission of its own', async () => {
  const client = await signIn({ workspace: owner.workspaceId, scopes: ['events:send'] })
  expect((await client.post('/api/events', { name: 'any' })).status).toBe(202)
  const without = await signIn({ workspace: owner.workspaceId, scopes: ['executions:control'] })
  expect((await without.post('/api/events', { name: 'any' })).status).toBe(403)
})

test('an event whose sender died before it was offered is offered by the tick; one whose life is over is removed', async () => {
  const { execution, name } = await waiting()
  const row = (seconds: number) => ({
    id: uuidv7(),
    workspace_id: owner.workspaceId,
    name,
    payload: jsonb('from the tick'),
    request_hash: '-',
    created_at: new Date(Date.now() - 60_000),
    expires_at: new Date(Date.now() + seconds * 1000),
  })
  const [kept, over] = [row(600), row(-1)]
  await db.insertInto('inbound_events').values([kept, over]).execute()
  await eventsService.tick(runtime)
  await work()
  expect(await executionOf(execution)).toMatchObject({ status: 'succeeded', output: 'from the tick' })
  const left = await db.selectFrom('inbound_events').select('id').where('name', '=', name).execute()
  expect(left).toEqual([{ id: kept.id }])
  expect(await eventsService.tick(runtime)).toMatchObject({ done: 0 })
})
