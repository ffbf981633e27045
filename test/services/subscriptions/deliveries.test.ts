import type { RequestListener } from 'node:http'
import { sql } from 'kysely'
import { expect, test, vi } from 'vitest'
import { isSignedBy } from '../../../src/lib/standard-webhooks.ts'
import { engineOf, runsService } from '../../../src/services/runs/index.ts'
import { deliverDue } from '../../../src/services/subscriptions/deliver.ts'
import { announceEnds } from '../../../src/services/subscriptions/announce.ts'
import { emitEvents, webhooksTick } from '../../../src/services/webhook-subscriptions.service.ts'
import { schedulesTick } from '../../../src/services/schedules.service.ts'
import { createTestApp, type TestApp } from '../../support/app.ts'
import { loopbackServer, type SeenRequest } from '../../support/loopback-server.ts'

type Body = { [key: string]: any }
const json = async (response: Response) => (await response.json()) as Body
const base = '/api/webhooks/subscriptions'

/** A receiver that answers what it is told to, and an app that knows no other subscription. */
async function aPair(answer: RequestListener = (_, response) => response.writeHead(204).end(), settings: object = {}) {
  const app = await createTestApp()
  const receiver = await loopbackServer((request, response) => answer(request, response))
  const url = `http://127.0.0.1:${receiver.port}/hook`
  const subscription = await subscribe(app, { url, ...settings })
  return { app, receiver, url, subscription }
}
async function subscribe(app: TestApp, settings: object): Promise<Body> {
  const response = await app.post(base, settings)
  const made = await json(response)
  expect(response.status, JSON.stringify(made)).toBe(201)
  return made
}
const answering =
  (...statuses: number[]): RequestListener =>
  (_, response) =>
    void response.writeHead(statuses.length > 1 ? statuses.shift()! : statuses[0]!).end()

let count = 0
async function aRun(app: TestApp, more: object = {}): Promise<string> {
  const slug = `recipe-${count++}`
  const steps = [{ id: 'one', kind: 'transform', value: { $expr: '10 / input.n' } }]
  await app.post('/api/workflow-recipes', { name: 'Divide', slug, steps, ...more })
  const started = await app.post(`/api/workflow-recipes/${slug}/execute`, { input_data: { n: 5 } })
  return (await json(started))['id'] as string
}
async function work(app: TestApp) {
  await runsService.tick(app.runtime)
  await engineOf(app.runtime).idle()
}
const verified = (request: SeenRequest, secret: string) =>
  isSignedBy([secret], {
    id: String(request.headers['webhook-id']),
    timestamp: String(request.headers['webhook-timestamp']),
    signatures: String(request.headers['webhook-signature']),
    body: new TextEncoder().encode(request.body),
  })
const deliveriesOf = async (app: TestApp, { id }: Body) =>
  (await json(await app.get(`${base}/${id}/deliveries`)))['items'] as Body[]
const toldOf = ({ seen }: { seen: SeenRequest[] }) => seen.map(({ body }) => JSON.parse(body) as Body)

test('the end of a run is told, signed, to whoever subscribes to it', async () => {
  const { app, receiver, subscription } = await aPair()
  const id = await aRun(app)
  await webhooksTick(app.runtime)
  expect(receiver.seen, 'it has not ended').toEqual([])
  await work(app)
  await webhooksTick(app.runtime)
  expect(toldOf(receiver)).toEqual([
    {
      type: 'execution.succeeded',
      timestamp: expect.any(String),
      data: {
        execution: expect.objectContaining({
          id,
          status: 'succeeded',
          recipe: 'Divide',
          recipe_version: 1,
          error: null,
        }),
      },
    },
  ])
  expect(await verified(receiver.seen[0]!, subscription['secret'])).toBe(true)
  expect(receiver.seen[0]!.headers['content-type']).toBe('application/json')
  expect(await deliveriesOf(app, subscription)).toMatchObject([
    { id: receiver.seen[0]!.headers['webhook-id'], status: 'delivered', attempts: 1, execution_id: id },
  ])
  expect(await webhooksTick(app.runtime), 'and told once').toEqual({ done: 0, more: false })
})

test('failed and canceled runs are told with the reason, and only to whom it concerns', async () => {
  const { app, receiver, url, subscription } = await aPair(undefined, { events: ['execution.failed'] })
  const canceled = await subscribe(app, { url: `${url}/canceled`, events: ['execution.canceled'] })
  const failing = await aRun(app, { steps: [{ id: 'one', kind: 'fail', message: 'No good.' }] })
  await work(app)
  const waiting = await aRun(app)
  await app.post(`/api/executions/${waiting}/cancel`, { reason: 'Not needed' })
  await webhooksTick(app.runtime)
  const told = toldOf(receiver)
  const byType = (type: string) => told.filter((message) => message['type'] === type)
  expect(byType('execution.failed')).toMatchObject([
    { data: { execution: { id: failing, status: 'failed', error: { kind: expect.any(String) } } } },
  ])
  expect(byType('execution.canceled')).toMatchObject([
    { data: { execution: { id: waiting, error: { kind: 'canceled', detail: 'Not needed' } } } },
  ])
  expect(told).toHaveLength(2)
  expect([await deliveriesOf(app, subscription), await deliveriesOf(app, canceled)].map((l) => l.length)).toEqual([
    1, 1,
  ])
})

test('a run that ended while nobody delivered is told later; one that is older than the subscription is not', async () => {
  const { app, receiver, url, subscription } = await aPair()
  const first = await aRun(app)
  const late = await subscribe(app, { url: `${url}/late` })
  await work(app)
  await webhooksTick(app.runtime)
  expect(receiver.seen.map((request) => request.url)).toEqual(['/hook'])
  expect(await deliveriesOf(app, late)).toEqual([])
  expect(await deliveriesOf(app, subscription)).toMatchObject([{ execution_id: first }])
})

test('a run costs nothing and is told to nobody where nobody subscribes', async () => {
  const app = await createTestApp()
  await aRun(app)
  await work(app)
  expect(await announceEnds(app.runtime)).toBe(0)
  const { rows } = await sql`select id from runs where announced_generation is not null`.execute(app.db)
  expect(rows).toEqual([])
})

test('an end is told though something was written behind it', async () => {
  const { app, receiver } = await aPair()
  const id = await aRun(app, { steps: [{ id: 'one', kind: 'fail', message: 'No good.' }] })
  await work(app)
  await sql`update runs set last_seq = last_seq + 1 where id = ${id}`.execute(app.db)
  await sql`insert into run_events (run_id, seq, type, data)
    select id, last_seq, 'usage', '{}' from runs where id = ${id}`.execute(app.db)
  await webhooksTick(app.runtime)
  expect(toldOf(receiver).map((message) => message['type'])).toEqual(['execution.failed'])
})

test('every end of a run that is taken up again is told, also the one before that nobody had told of yet', async () => {
  const { app, receiver } = await aPair()
  const id = await aRun(app, { steps: [{ id: 'one', kind: 'fail', message: 'No good.' }] })
  await work(app)
  // As a retry does it: the next generation of the same run, with events of its own.
  await sql`update runs set generation = 2, state = 'succeeded', last_seq = last_seq + 1 where id = ${id}`.execute(
    app.db,
  )
  await sql`insert into run_events (run_id, seq, type, data)
    select id, last_seq, 'execution.succeeded', '{}' from runs where id = ${id}`.execute(app.db)
  await webhooksTick(app.runtime)
  expect(
    toldOf(receiver)
      .map((message) => message['type'])
      .toSorted(),
  ).toEqual(['execution.failed', 'execution.succeeded'])
  await sql`update runs set generation = 3, last_seq = last_seq + 1 where id = ${id}`.execute(app.db)
  await sql`insert into run_events (run_id, seq, type, data)
    select id, last_seq, 'execution.failed', '{"error":{"kind":"x"}}' from runs where id = ${id}`.execute(app.db)
  await webhooksTick(app.runtime)
  expect(receiver.seen).toHaveLength(3)
})

test('a run that is retried is told of again when it ends again', async () => {
  const { app, receiver } = await aPair()
  const id = await aRun(app, { steps: [{ id: 'one', kind: 'fail', message: 'No good.' }] })
  await work(app)
  // Nobody has delivered in between: both ends are told all the same.
  expect((await app.post(`/api/executions/${id}/retry`)).status).toBe(202)
  await webhooksTick(app.runtime)
  expect(receiver.seen, 'it goes on').toEqual([])
  await work(app)
  await webhooksTick(app.runtime)
  expect(toldOf(receiver).map(({ type, data }) => [type, data.execution.id])).toEqual([
    ['execution.failed', id],
    ['execution.failed', id],
  ])
  expect(await webhooksTick(app.runtime)).toEqual({ done: 0, more: false })
})

test('slots that a schedule missed are told to who subscribes to that', async () => {
  const { app, receiver } = await aPair(undefined, { events: ['schedule.slot_missed'] })
  await app.post('/api/workflow-recipes', {
    name: 'Late',
    slug: 'late',
    steps: [{ id: 'one', kind: 'transform', value: 1 }],
  })
  const schedule = await json(
    await app.post('/api/schedules', { recipe_id: 'late', interval: '1h', misfire: 'skip', grace: 60 }),
  )
  await app.database.shiftClock({ seconds: 3 * 3600 + 1800 })
  await schedulesTick(app.runtime)
  await webhooksTick(app.runtime)
  expect(toldOf(receiver)).toMatchObject([{ type: 'schedule.slot_missed', data: { schedule: { id: schedule['id'] } } }])
})

test('what fails comes again after its delay, under the same id and with the same body', async () => {
  const { app, receiver, subscription } = await aPair(answering(503, 500, 204))
  await aRun(app)
  await work(app)
  await webhooksTick(app.runtime)
  expect(await webhooksTick(app.runtime), 'not before its time').toMatchObject({ done: 0 })
  expect(receiver.seen).toHaveLength(1)
  await app.database.shiftClock({ seconds: 8 })
  await webhooksTick(app.runtime)
  expect(receiver.seen).toHaveLength(2)
  await app.database.shiftClock({ seconds: 60 })
  await webhooksTick(app.runtime)
  expect(receiver.seen, 'the second delay is longer').toHaveLength(2)
  await app.database.shiftClock({ seconds: 400 })
  await webhooksTick(app.runtime)
  expect(receiver.seen).toHaveLength(3)
  expect(new Set(receiver.seen.map(({ headers }) => headers['webhook-id'])).size).toBe(1)
  expect(new Set(receiver.seen.map(({ body }) => body)).size).toBe(1)
  for (const request of receiver.seen) expect(await verified(request, subscription['secret'])).toBe(true)
  const [delivery] = await deliveriesOf(app, subscription)
  expect(delivery).toMatchObject({ status: 'delivered', attempts: 3, next_attempt_at: null })
  expect(delivery!['log'].map((entry: Body) => entry['status'])).toEqual([503, 500, 204])
  expect(await json(await app.get(`${base}/${subscription['id']}`))).toMatchObject({ failures: 0, failing_since: null })
})

test('after the last attempt it is given up, and can be sent again under its id', async () => {
  const statuses = [500]
  const { app, receiver, subscription } = await aPair((_, response) => void response.writeHead(statuses[0]!).end())
  await aRun(app)
  await work(app)
  let hours = 0
  await webhooksTick(app.runtime)
  while ((await deliveriesOf(app, subscription))[0]!['status'] === 'pending' && hours < 200) {
    hours += 3
    await app.database.shiftClock({ seconds: hours * 3600 })
    await webhooksTick(app.runtime)
  }
  const [given] = await deliveriesOf(app, subscription)
  expect(given).toMatchObject({ status: 'failed', attempts: 10, next_attempt_at: null })
  statuses[0] = 200
  const path = `${base}/${subscription['id']}/deliveries/${given!['id']}`
  expect((await app.post(`${path}/redeliver`)).status).toBe(202)
  await webhooksTick(app.runtime)
  expect((await deliveriesOf(app, subscription))[0]).toMatchObject({ status: 'delivered' })
  expect(receiver.seen.at(-1)!.headers['webhook-id']).toBe(given!['id'])
  expect((await json(await app.get(path)))['body']).toBe(receiver.seen.at(-1)!.body)
})

test('Retry-After is obeyed where it asks for more', async () => {
  const { app, subscription } = await aPair(
    (_, response) => void response.writeHead(429, { 'retry-after': '3600' }).end(),
  )
  await aRun(app)
  await work(app)
  await webhooksTick(app.runtime)
  const [{ next_attempt_at, log }] = (await deliveriesOf(app, subscription)) as [Body]
  expect(Date.parse(next_attempt_at) - Date.parse(log[0].at)).toBeGreaterThanOrEqual(3_600_000)
})

test('a receiver that is gone, or fails for days, is switched off; what waits is sent once it is on again', async () => {
  const statuses = [410]
  const { app, receiver, subscription } = await aPair((_, response) => void response.writeHead(statuses[0]!).end())
  const path = `${base}/${subscription['id']}`
  await aRun(app)
  await work(app)
  await webhooksTick(app.runtime)
  expect(await json(await app.get(path))).toMatchObject({
    active: false,
    disabled_reason: expect.stringContaining('410'),
  })
  await app.database.shiftClock({ seconds: 86_400 })
  await webhooksTick(app.runtime)
  expect(receiver.seen).toHaveLength(1)
  statuses[0] = 500
  expect((await app.patch(path, { active: true })).status).toBe(200)
  await webhooksTick(app.runtime)
  expect(receiver.seen).toHaveLength(2)
  await app.db
    .updateTable('webhook_subscriptions')
    .set({ failing_since: sql<Date>`app_now() - interval '6 days'` })
    .execute()
  await app.database.shiftClock({ seconds: 2 * 86_400 })
  await webhooksTick(app.runtime)
  expect(await json(await app.get(path))).toMatchObject({
    active: false,
    disabled_reason: expect.stringContaining('days'),
  })
  statuses[0] = 200
  expect(await json(await app.patch(path, { active: true }))).toMatchObject({
    disabled_reason: null,
    failing_since: null,
  })
  await webhooksTick(app.runtime)
  expect(await deliveriesOf(app, subscription)).toMatchObject([{ status: 'delivered' }])
})

test('of processes that announce at once each end is told by one', async () => {
  const { app, subscription } = await aPair()
  const runs = await Promise.all(Array.from({ length: 10 }, () => aRun(app)))
  await work(app)
  const told = await Promise.all(Array.from({ length: 4 }, () => announceEnds(app.runtime)))
  expect(told.reduce((sum, n) => sum + n)).toBe(10)
  const deliveries = await deliveriesOf(app, subscription)
  expect(deliveries.map((delivery) => delivery['execution_id']).toSorted()).toEqual(runs.toSorted())
})

test('of two processes that deliver at once each message is sent by one', async () => {
  const { app, receiver } = await aPair()
  const { workspaceId } = app
  const event = (n: number) => ({ workspaceId, type: 'execution.failed', key: `k-${n}`, at: new Date(), data: { n } })
  await emitEvents(
    app.db,
    Array.from({ length: 5 }, (_, n) => event(n)),
  )
  expect(await emitEvents(app.db, [event(0)]), 'an event that is told twice').toBe(0)
  const taken = await Promise.all([deliverDue(app.runtime), deliverDue(app.runtime), deliverDue(app.runtime)])
  expect(taken.reduce((sum, n) => sum + n)).toBe(5)
  expect(receiver.seen).toHaveLength(5)
  expect(new Set(receiver.seen.map(({ headers }) => headers['webhook-id'])).size).toBe(5)
})

test('what a process took and never finished is sent by another after a minute, and the late one writes nothing', async () => {
  const { app, receiver, subscription } = await aPair()
  await emitEvents(app.db, [
    { workspaceId: app.workspaceId, type: 'execution.failed', key: 'k', at: new Date(), data: {} },
  ])
  let release = () => {}
  const hangs = new Promise<Response>((resolve) => {
    release = () => resolve(new Response(null, { status: 500 }))
  })
  const late = deliverDue({ ...app.runtime, egress: () => hangs })
  await expect.poll(async () => (await deliveriesOf(app, subscription))[0]!['attempts']).toBe(1)
  expect(await deliverDue(app.runtime)).toBe(0)
  await app.database.shiftClock({ seconds: 61 })
  expect(await deliverDue(app.runtime)).toBe(1)
  release()
  await late
  expect(receiver.seen).toHaveLength(1)
  expect(await deliveriesOf(app, subscription)).toMatchObject([
    { status: 'delivered', attempts: 2, log: [{ attempt: 2 }] },
  ])
  expect(await json(await app.get(`${base}/${subscription['id']}`))).toMatchObject({ failures: 0 })
})

test('what fails while its subscription is switched off is not due until that is on again', async () => {
  const { app, receiver, subscription } = await aPair()
  const path = `${base}/${subscription['id']}`
  await emitEvents(app.db, [
    { workspaceId: app.workspaceId, type: 'execution.failed', key: 'k', at: new Date(), data: {} },
  ])
  let release = () => {}
  const hangs = new Promise<Response>((resolve) => {
    release = () => resolve(new Response(null, { status: 500 }))
  })
  const underWay = deliverDue({ ...app.runtime, egress: () => hangs })
  await expect.poll(async () => (await deliveriesOf(app, subscription))[0]!['attempts']).toBe(1)
  expect((await app.patch(path, { active: false })).status).toBe(200)
  release()
  await underWay
  expect(await deliveriesOf(app, subscription)).toMatchObject([
    { status: 'pending', next_attempt_at: null, log: [{ attempt: 1, status: 500 }] },
  ])
  expect(await webhooksTick(app.runtime), 'nothing is overdue').toEqual({ done: 0, more: false })
  expect((await app.patch(path, { active: true })).status).toBe(200)
  await webhooksTick(app.runtime)
  expect(receiver.seen).toHaveLength(1)
  expect(await deliveriesOf(app, subscription)).toMatchObject([{ status: 'delivered', attempts: 2 }])
})

test('a receiver that does not answer takes no more than its share of a pass', async () => {
  const { app, url } = await aPair(answering(500))
  const well = await loopbackServer(answering(204))
  await subscribe(app, { url: `http://127.0.0.1:${well.port}/`, events: ['schedule.parked'] })
  const event = (type: string, n: number) => ({
    workspaceId: app.workspaceId,
    type,
    key: `${type}-${n}`,
    at: new Date(),
    data: { n },
  })
  await emitEvents(
    app.db,
    Array.from({ length: 300 }, (_, n) => event('execution.failed', n)),
  )
  await emitEvents(app.db, [event('schedule.parked', 1)])
  await webhooksTick(app.runtime)
  expect(well.seen, url).toHaveLength(1)
  const { rows } = await sql<{ attempts: number }>`
    select sum(attempts)::integer as attempts from webhook_deliveries where event_type = 'execution.failed'`.execute(
    app.db,
  )
  expect(rows[0]!.attempts).toBeLessThanOrEqual(20)
  // And while it fails, less with each pass.
  for (let s = 10; s < 14; s++) {
    await app.database.shiftClock({ seconds: s })
    await deliverDue(app.runtime)
  }
  const later = await sql<{ attempts: number }>`
    select sum(attempts)::integer as attempts from webhook_deliveries`.execute(app.db)
  expect(later.rows[0]!.attempts - rows[0]!.attempts).toBeLessThanOrEqual(4)
})

test('a backlog for a receiver that is well is sent without waiting between passes', async () => {
  const { app, receiver } = await aPair()
  await emitEvents(
    app.db,
    Array.from({ length: 50 }, (_, n) => ({
      workspaceId: app.workspaceId,
      type: 'execution.failed',
      key: `k-${n}`,
      at: new Date(),
      data: { n },
    })),
  )
  const reports = []
  for (const delivered of [20, 40, 50]) {
    reports.push(await webhooksTick(app.runtime))
    // A pass does not wait long for its tries, and those under way take up the receiver's share.
    await vi.waitFor(
      async () =>
        expect(
          await app.db
            .selectFrom('webhook_deliveries')
            .select('id')
            .where('workspace_id', '=', app.workspaceId)
            .where('status', '=', 'delivered')
            .execute(),
        ).toHaveLength(delivered),
      { timeout: 15_000 },
    )
  }
  expect(reports).toEqual([
    expect.objectContaining({ done: 20, more: true }),
    expect.objectContaining({ done: 20, more: true }),
    expect.objectContaining({ done: 10, more: false }),
  ])
  expect(new Set(receiver.seen.map(({ headers }) => headers['webhook-id'])).size).toBe(50)
})

test("a receiver that never answers holds up no other workspace's messages", async () => {
  const held: (() => void)[] = []
  const { app, receiver, url } = await aPair((_, response) => void held.push(() => response.writeHead(204).end()))
  await subscribe(app, { url })
  const other = await app.signIn()
  const well = await loopbackServer(answering(204))
  const made = await other.post(base, { url: `http://127.0.0.1:${well.port}/` })
  expect(made.status).toBe(201)
  const event = (workspaceId: string, n: number) => ({
    workspaceId,
    type: 'execution.failed',
    key: `k-${n}`,
    at: new Date(),
    data: { n },
  })
  await emitEvents(
    app.db,
    Array.from({ length: 300 }, (_, n) => event(app.workspaceId, n)),
  )
  // Its share is under way, and the passes go on.
  await webhooksTick(app.runtime)
  await emitEvents(app.db, [event(other.workspaceId, 1)])
  await webhooksTick(app.runtime)
  expect(well.seen).toHaveLength(1)
  await webhooksTick(app.runtime)
  expect(receiver.seen, 'no more than its share').toHaveLength(40)
  expect(held).toHaveLength(40)
  for (const release of held) release()
  await app.settle()
  expect(new Set(receiver.seen.map(({ headers }) => headers['webhook-id'])).size).toBe(40)
  const { rows } = await sql`select id from webhook_deliveries where status = 'delivered'`.execute(app.db)
  expect(rows).toHaveLength(41)
})

test('messages leave through the egress guard and follow no redirect', async () => {
  const elsewhere = await loopbackServer(answering(204))
  const { app, subscription } = await aPair(
    (_, response) => void response.writeHead(307, { location: `http://127.0.0.1:${elsewhere.port}/` }).end(),
  )
  const forbidden = await subscribe(app, { url: 'http://169.254.169.254/latest/meta-data' })
  await aRun(app)
  await work(app)
  await webhooksTick(app.runtime)
  expect(elsewhere.seen).toEqual([])
  for (const one of [subscription, forbidden]) {
    const [delivery] = await deliveriesOf(app, one)
    expect(delivery).toMatchObject({ status: 'pending', log: [{ status: null, error: expect.any(String) }] })
  }
})

test('a new secret signs beside the old one for as long as was asked', async () => {
  const { app, receiver, subscription } = await aPair()
  const path = `${base}/${subscription['id']}`
  const { secret } = await json(await app.post(`${path}/rotate-secret`, { keep_previous: '1h' }))
  await app.post(`${path}/test`)
  await webhooksTick(app.runtime)
  expect([
    await verified(receiver.seen[0]!, secret),
    await verified(receiver.seen[0]!, subscription['secret']),
  ]).toEqual([true, true])
  expect(toldOf(receiver)).toMatchObject([{ type: 'webhook.test' }])
  await app.database.shiftClock({ seconds: 3700 })
  await app.post(`${path}/test`)
  await webhooksTick(app.runtime)
  expect([
    await verified(receiver.seen[1]!, secret),
    await verified(receiver.seen[1]!, subscription['secret']),
  ]).toEqual([true, false])
})

test('an event is lost with its transaction and kept with it', async () => {
  const { app, subscription } = await aPair()
  const event = { workspaceId: app.workspaceId, type: 'execution.failed', key: 'k', at: new Date(), data: {} }
  await app.db
    .transaction()
    .execute(async (tx) => {
      await emitEvents(tx, [event])
      throw new Error('undone')
    })
    .catch(() => {})
  expect(await deliveriesOf(app, subscription)).toEqual([])
  await app.db.transaction().execute((tx) => emitEvents(tx, [event]))
  expect(await deliveriesOf(app, subscription)).toHaveLength(1)
})
