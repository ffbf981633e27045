import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { jsonb } from '../../src/db/json.ts'
import { uuidv7 } from '../../src/lib/ids.ts'
import { engineOf, runsService } from '../../src/services/runs/index.ts'
import { eventsService } from '../../src/services/signals/events-tick.ts'
import { eventLimits } from '../../src/services/signals/send-event.ts'
import { takeKeptEvent, type Condition } from '../../src/services/signals/waits.ts'
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

/** Evaluated where the event is sent: no index and no containment decides it. */
const byOrder = { match: { $expr: "event.order + '' == input.order" } }

/** A recipe that waits for an event with the order of its input; `others` more waits want another one. */
async function waitingForOrders(client: typeof owner | Awaited<ReturnType<typeof signIn>>, others: number) {
  const name = `event.${crypto.randomUUID()}`
  const slug = `orders-${crypto.randomUUID().slice(0, 8)}`
  const steps = [{ id: 'it', kind: 'wait', event: name, ...byOrder }]
  const made = await client.post('/api/workflow-recipes', { name: 'Orders', slug, steps })
  expect(made.status, await made.clone().text()).toBe(201)
  const run = async (order: string) => {
    const started = await client.post(`/api/workflow-recipes/${slug}/execute`, { input_data: { order } })
    const { id } = await json<{ id: string }>(started)
    await work()
    return id
  }
  if (others > 0) {
    const crowd = await run('another')
    await sql`
      insert into event_waits (run_id, path, generation, workspace_id, name, condition)
      select run_id, 'other-' || n, generation, workspace_id, name, condition
      from event_waits, generate_series(2, ${others}::integer) n where run_id = ${crowd}`.execute(db)
  }
  return { name, run }
}
const keptEvent = (workspaceId: string, name: string, payload: object, ageS: number) => ({
  id: uuidv7(),
  workspace_id: workspaceId,
  name,
  payload: jsonb(payload),
  request_hash: '-',
  created_at: new Date(Date.now() - ageS * 1000),
  expires_at: new Date(Date.now() + 600_000),
})

test('an event reaches whom it is for behind any number of waits that it does not fit', async () => {
  const { name, run } = await waitingForOrders(owner, 2_500)
  const mine = await run('mine')
  const { id } = await json<{ id: string }>(await post('/api/events', { name, payload: { order: 'mine' } }))
  await sql`update inbound_events set created_at = created_at - interval '1 minute' where id = ${id}`.execute(db)
  for (let pass = 0; pass < 20; pass++) if (!(await eventsService.tick(runtime)).more) break
  await work()
  expect(await executionOf(mine)).toMatchObject({ status: 'succeeded', output: { order: 'mine' } })
  const { matched } = await db
    .selectFrom('inbound_events')
    .select('matched')
    .where('id', '=', id)
    .executeTakeFirstOrThrow()
  expect(matched).toBe(true)
})

test("one workspace's events that many wait for hold up no other workspace's", async () => {
  const crowded = await waitingForOrders(owner, 2_500)
  const stranger = await signIn()
  const theirs = await waitingForOrders(stranger, 0)
  const execution = await theirs.run('theirs')
  await db
    .insertInto('inbound_events')
    .values([
      ...Array.from({ length: 30 }, () => keptEvent(owner.workspaceId, crowded.name, { order: 'nobody' }, 600)),
      keptEvent(stranger.workspaceId, theirs.name, { order: 'theirs' }, 60),
    ])
    .execute()
  await eventsService.tick(runtime)
  await work()
  const seen = await stranger.get(`/api/executions/${execution}`)
  expect(await json(seen)).toMatchObject({ status: 'succeeded', output: { order: 'theirs' } })
  await db.updateTable('inbound_events').set({ matched: true }).where('name', '=', crowded.name).execute()
})

test('a wait looks back through kept events a bounded part at a time, and misses none', async () => {
  const { name, run } = await waitingForOrders(owner, 0)
  const execution = await run('mine')
  const fill = 'x'.repeat(250_000)
  for (let n = 0; n < 80; n++)
    await db
      .insertInto('inbound_events')
      .values({ ...keptEvent(owner.workspaceId, name, { order: 'another', fill }, 0), matched: true })
      .execute()
  const last = { ...keptEvent(owner.workspaceId, name, { order: 'mine' }, 0), matched: true }
  await db.insertInto('inbound_events').values(last).execute()
  const { path, generation, condition } = await db
    .selectFrom('event_waits')
    .selectAll()
    .where('run_id', '=', execution)
    .executeTakeFirstOrThrow()
  const look = () =>
    takeKeptEvent(
      db,
      { run_id: execution, path, generation },
      { name, match: null, condition: condition as unknown as Condition },
    )
  expect([await look(), await look()]).toEqual(['more', 'given'])
  // And a run that begins to wait now goes on by itself.
  const second = await run('mine')
  await expect
    .poll(async () => {
      await work()
      return executionOf(second)
    })
    .toMatchObject({ status: 'succeeded', output: { order: 'mine' } })
  await db.deleteFrom('inbound_events').where('name', '=', name).execute()
})

test('a workspace keeps so much and no more, and has room again when some is over', async () => {
  const client = await signIn()
  const key = { 'idempotency-key': crypto.randomUUID() }
  const sent = await client.post('/api/events', { name: 'first', payload: 'x'.repeat(1000) }, key)
  expect(sent.status).toBe(202)
  const used = () =>
    db
      .selectFrom('event_bytes')
      .select(['bytes', 'until'])
      .where('workspace_id', '=', client.workspaceId)
      .executeTakeFirstOrThrow()
  expect(Number((await used()).bytes)).toBe(1002 + eventLimits.rowBytes)
  await sql`update event_bytes set bytes = ${eventLimits.keptBytes} - 400 where workspace_id = ${client.workspaceId}`.execute(
    db,
  )
  const refused = await client.post('/api/events', { name: 'second', payload: 'x'.repeat(1000) })
  expect(refused.status).toBe(409)
  expect(await json(refused)).toMatchObject({ type: '/problems/conflict', detail: expect.stringContaining('256 MB') })
  expect((await client.post('/api/events', { name: 'small', payload: 1 })).status).toBe(202)
  const repeated = await client.post('/api/events', { name: 'first', payload: 'x'.repeat(1000) }, key)
  expect(await json(repeated)).toMatchObject({ id: (await json(sent))['id'] })
  expect((await post('/api/events', { name: 'second', payload: 1 })).status, 'of another workspace').toBe(202)
  await sql`update event_bytes set until = now() - interval '1 second' where workspace_id = ${client.workspaceId}`.execute(
    db,
  )
  expect((await client.post('/api/events', { name: 'third', payload: 'x'.repeat(1000) })).status).toBe(202)
})
