import { sql } from 'kysely'
import { afterAll, beforeEach, expect, test } from 'vitest'
import type { Egress } from '../../../src/context.ts'
import { jsonb } from '../../../src/db/json.ts'
import { EgressError } from '../../../src/lib/egress-error.ts'
import { uuidv7 } from '../../../src/lib/ids.ts'
import {
  alertsTick,
  createPing,
  createSchedule,
  deleteSchedule,
  getPing,
  getSchedule,
  listAlerts,
  pauseSchedule,
  receivePing,
  resumeSchedule,
  updateSchedule,
} from '../../../src/services/schedules.service.ts'
import type { ScheduleSettings } from '../../../src/services/schedules/settings.ts'
import { createServiceContext } from '../../support/service-context.ts'
import { aRecipe, createWorkbench, endRuns, tickAll } from './fixture.ts'

const bench = await createWorkbench()
const { db, ctx, setClock } = bench
afterAll(() => bench.close())
beforeEach(async () => {
  await db.deleteFrom('schedules').execute()
  await db.deleteFrom('schedule_events').execute()
})

interface Posted {
  url: string
  id: string | null
  credential: string | undefined
  body: { id: string; type: string; timestamp: string; data: Record<string, unknown> }
}
/** An outside world that answers as the test says, and remembers. */
function world(answer: (count: number) => number | Error = () => 204) {
  const posted: Posted[] = []
  const egress: Egress = async (request, options) => {
    posted.push({
      url: request.url,
      id: request.headers.get('idempotency-key'),
      credential: options?.credential,
      body: (await request.json()) as Posted['body'],
    })
    const status = answer(posted.length)
    if (status instanceof Error) throw status
    return new Response(null, { status })
  }
  return { posted, tick: () => alertsTick({ ...ctx, egress }) }
}

const alerts = { url: 'https://alerts.example/hook' }
const aSchedule = async (settings: ScheduleSettings) =>
  (await createSchedule(ctx, { recipe_id: await aRecipe(bench), name: 'nightly', ...settings })).id
const typesOf = async () => (await listAlerts(ctx, { limit: 50 })).items.map((alert) => alert.type)
const onlyAlert = async () => {
  const { items } = await listAlerts(ctx, { limit: 50 })
  expect(items).toHaveLength(1)
  return items[0]!
}

test('slots that were missed are told once for all that a pass found, in the transaction that gave them up', async () => {
  await setClock('2033-01-03T06:30:00Z')
  const id = await aSchedule({ cron: '0 * * * *', misfire: 'skip', alerts })
  await setClock('2033-01-03T10:30:00Z')
  await Promise.all([tickAll(bench), tickAll(bench)])
  const alert = await onlyAlert()
  const { recipe_id } = await getSchedule(ctx, { id })
  expect(alert).toMatchObject({
    type: 'schedule.slot_missed',
    schedule_id: id,
    data: {
      schedule: { id, name: 'nightly', recipe_id },
      slots: { count: 4, first: '2033-01-03T07:00:00.000Z', last: '2033-01-03T10:00:00.000Z' },
      reason: 'misfire',
    },
    delivery: { status: 'pending', attempts: 0 },
  })
  const { posted, tick } = world()
  await tick()
  await tick()
  expect(posted).toEqual([
    {
      url: alerts.url,
      id: alert.id,
      credential: undefined,
      body: { id: alert.id, type: alert.type, timestamp: alert.created_at, data: alert.data },
    },
  ])
  expect((await onlyAlert()).delivery).toMatchObject({ status: 'delivered', attempts: 1, last_status: 204 })
})

test('a slot is told as late when it fired later than the schedule finds acceptable, and not before', async () => {
  await setClock('2033-01-04T06:59:00Z')
  const id = await aSchedule({ cron: '0 * * * *', overlap: 'allow', alerts: { ...alerts, late_after: '90s' } })
  await setClock('2033-01-04T07:01:30Z')
  await tickAll(bench)
  expect(await typesOf()).toEqual([])
  await setClock('2033-01-04T08:01:31Z')
  await tickAll(bench)
  expect(await onlyAlert()).toMatchObject({
    type: 'schedule.slot_late',
    schedule_id: id,
    data: { slots: { count: 1, first: '2033-01-04T08:00:00.000Z' }, late_by_seconds: 91, reason: null },
  })
})

test('a slot that an overlap held back for too long is told as late with that reason', async () => {
  await setClock('2033-01-05T06:59:00Z')
  const id = await aSchedule({ cron: '0 * * * *', overlap: 'queue' })
  await setClock('2033-01-05T07:00:00Z')
  await tickAll(bench)
  await setClock('2033-01-05T08:00:00Z')
  await tickAll(bench)
  await setClock('2033-01-05T08:20:00Z')
  await endRuns(bench, id)
  await tickAll(bench)
  expect(await onlyAlert()).toMatchObject({
    type: 'schedule.slot_late',
    data: { late_by_seconds: 1200, reason: 'overlap' },
    delivery: { status: 'none' },
  })
})

test('a schedule that is parked is told with its fault', async () => {
  await setClock('2033-01-06T06:59:30Z')
  const id = await aSchedule({ cron: '* * * * *', alerts })
  await db.updateTable('schedules').set({ timezone: 'Mars/Olympus' }).where('id', '=', id).execute()
  await setClock('2033-01-06T07:00:00Z')
  await tickAll(bench)
  expect(await onlyAlert()).toMatchObject({
    type: 'schedule.parked',
    data: { fault: expect.stringContaining('time zone') },
  })
})

test('types that the address does not want are recorded and not sent', async () => {
  await setClock('2033-01-07T06:30:00Z')
  await aSchedule({ cron: '0 * * * *', misfire: 'skip', alerts: { ...alerts, on: ['schedule.overdue'] } })
  await setClock('2033-01-07T08:30:00Z')
  await tickAll(bench)
  expect((await onlyAlert()).delivery.status).toBe('none')
  const { posted, tick } = world()
  await tick()
  expect(posted).toEqual([])
})

test('what is not taken is sent again under the same id, further and further apart, and given up in the end', async () => {
  await setClock('2033-01-08T06:30:00Z')
  await aSchedule({ cron: '0 * * * *', misfire: 'skip', alerts: { ...alerts, auth: { credential: 'pager' } } })
  await setClock('2033-01-08T07:30:00Z')
  await tickAll(bench)
  const refused = new EgressError('egress-failed', 'alerts.example cannot be reached.')
  const { posted, tick } = world((count) => (count === 1 ? refused : 503))
  const waits: number[] = []
  for (let attempt = 1; attempt <= 8; attempt++) {
    await tick()
    await tick()
    expect(posted).toHaveLength(attempt)
    const { delivery } = await onlyAlert()
    if (attempt === 1) expect(delivery).toMatchObject({ status: 'pending', last_error: refused.message })
    if (delivery.next_attempt_at === null) break
    const { rows } = await sql<{ now: Date }>`select app_now() as now`.execute(db)
    waits.push(Date.parse(delivery.next_attempt_at) - rows[0]!.now.getTime())
    await setClock(delivery.next_attempt_at)
  }
  expect(waits).toEqual(waits.toSorted((a, b) => a - b))
  expect(waits[0]).toBeLessThanOrEqual(12_000)
  expect((await onlyAlert()).delivery).toMatchObject({
    status: 'failed',
    attempts: 8,
    last_status: 503,
    last_error: 'It answered 503.',
    next_attempt_at: null,
  })
  expect(new Set(posted.map((post) => post.id)).size).toBe(1)
  expect(posted[0]?.credential).toBe('pager')
})

test('whoever asks for more time by Retry-After has it; of our own errors nothing is told', async () => {
  await setClock('2033-01-08T16:30:00Z')
  await aSchedule({ cron: '0 * * * *', misfire: 'skip', alerts })
  await setClock('2033-01-08T17:30:00Z')
  await tickAll(bench)
  const headers = { 'retry-after': '3600' }
  await alertsTick({ ...ctx, egress: async () => new Response(null, { status: 429, headers }) })
  expect((await onlyAlert()).delivery).toMatchObject({ last_status: 429, next_attempt_at: '2033-01-08T18:30:00.000Z' })
  await setClock('2033-01-08T18:30:00Z')
  await world(() => new Error('password=secret')).tick()
  expect((await onlyAlert()).delivery).toMatchObject({
    status: 'pending',
    last_error: 'The message could not be sent.',
  })
})

test('processes that deliver at once send each event once; one that dies leaves it to the next', async () => {
  await setClock('2033-01-09T06:30:00Z')
  await aSchedule({ cron: '0 * * * *', misfire: 'skip', alerts })
  await setClock('2033-01-09T07:30:00Z')
  await tickAll(bench)
  const { posted, tick } = world()
  await Promise.all([tick(), tick(), tick()])
  expect(posted).toHaveLength(1)

  await db
    .updateTable('schedule_events')
    .set({ delivery: 'pending', next_attempt_at: new Date('2033-01-09T07:31:00Z') })
    .execute()
  await setClock('2033-01-09T07:30:59Z')
  await tick()
  expect(posted).toHaveLength(1)
  await setClock('2033-01-09T07:31:00Z')
  await tick()
  expect(posted).toHaveLength(2)
})

test('one workspace whose address hangs does not keep the others waiting', async () => {
  await setClock('2033-01-10T06:30:00Z')
  const id = await aSchedule({ cron: '0 * * * *', misfire: 'skip', alerts })
  await setClock('2033-01-10T07:30:00Z')
  await tickAll(bench)
  const event = await db.selectFrom('schedule_events').selectAll().executeTakeFirstOrThrow()
  await sql`
    insert into schedule_events (id, workspace_id, schedule_id, type, data, delivery, next_attempt_at)
    select gen_random_uuid(), workspace_id, schedule_id, type, data, 'pending', next_attempt_at - interval '1 hour'
    from schedule_events, generate_series(1, 30)`.execute(db)
  const other = crypto.randomUUID()
  await db
    .insertInto('workspaces')
    .values({ id: other, slug: `w-${other}`, name: 'Another' })
    .execute()
  await sql`
    insert into schedule_events (id, workspace_id, schedule_id, type, data, delivery, next_attempt_at)
    select gen_random_uuid(), ${other}, schedule_id, type, data, 'pending', next_attempt_at
    from schedule_events where id = ${event.id}`.execute(db)
  await world().tick()
  const rows = await db.selectFrom('schedule_events').select(['workspace_id', 'attempts']).execute()
  expect(rows.filter((row) => row.workspace_id !== other && row.attempts === 1)).toHaveLength(4)
  expect(rows.find((row) => row.workspace_id === other)?.attempts).toBe(1)
  expect(id).toBeDefined()
})

test('what was told of a schedule outlives it, and is sent to nobody any more', async () => {
  await setClock('2033-01-11T06:30:00Z')
  const id = await aSchedule({ cron: '0 * * * *', misfire: 'skip', alerts })
  await setClock('2033-01-11T07:30:00Z')
  await tickAll(bench)
  await deleteSchedule(ctx, { id })
  const { posted, tick } = world()
  await tick()
  expect(posted).toEqual([])
  expect((await onlyAlert()).delivery).toMatchObject({ status: 'failed', next_attempt_at: null })
})

test('whoever subscribes to events of the workspace is told, too', async () => {
  await setClock('2033-01-12T06:30:00Z')
  const id = await aSchedule({ cron: '0 * * * *', misfire: 'skip' })
  await db
    .insertInto('webhook_subscriptions')
    .values({
      id: crypto.randomUUID(),
      workspace_id: ctx.actor.workspaceId,
      name: 'Operations',
      url: 'https://ops.example/',
      events: jsonb(['schedule.slot_missed']),
      secret: 'sealed',
    })
    .execute()
  await setClock('2033-01-12T07:30:00Z')
  await tickAll(bench)
  const [delivery, ...others] = await db.selectFrom('webhook_deliveries').selectAll().execute()
  expect(others).toEqual([])
  const alert = await onlyAlert()
  expect(JSON.parse(delivery!.body)).toEqual({ type: alert.type, timestamp: alert.created_at, data: alert.data })
  expect(alert.schedule_id).toBe(id)
})

const tokenOf = (url: string) => url.slice(url.lastIndexOf('/') + 1)

test('a job that falls silent makes the schedule overdue and is told once; its next ping is told once, too', async () => {
  await setClock('2033-02-01T00:00:00Z')
  const id = await aSchedule({ cron: '0 5 1 1 *', alerts })
  const { url, ...ping } = await createPing(ctx, { id, period: '1h', grace: '5m' })
  expect(ping).toMatchObject({ status: 'waiting', period: 3600, grace: 300, due_at: '2033-02-01T01:05:00.000Z' })
  const { posted, tick } = world()
  await setClock('2033-02-01T01:00:00Z')
  await receivePing(ctx, tokenOf(url))
  await setClock('2033-02-01T02:04:59Z')
  await tick()
  expect(await getPing(ctx, { id })).toMatchObject({ status: 'ok', overdue_since: null })

  await setClock('2033-02-01T02:05:00Z')
  await Promise.all([tick(), tick()])
  await setClock('2033-02-01T09:00:00Z')
  await tick()
  expect(await getSchedule(ctx, { id })).toMatchObject({
    status: 'overdue',
    overdue_since: '2033-02-01T02:05:00.000Z',
  })
  expect(posted.map((post) => post.body)).toMatchObject([
    {
      type: 'schedule.overdue',
      data: { due_at: '2033-02-01T02:05:00.000Z', last_ping_at: '2033-02-01T01:00:00.000Z', period: 3600, grace: 300 },
    },
  ])

  await receivePing(ctx, tokenOf(url))
  await receivePing(ctx, tokenOf(url))
  await tick()
  expect(posted.map((post) => post.body.type)).toEqual(['schedule.overdue', 'schedule.recovered'])
  expect(posted[1]?.body.data).toMatchObject({ overdue_since: '2033-02-01T02:05:00.000Z' })
  expect(await getSchedule(ctx, { id })).toMatchObject({ status: 'active', overdue_since: null })
  expect(await getPing(ctx, { id })).toMatchObject({ status: 'ok', due_at: '2033-02-01T10:05:00.000Z' })
})

test('a job that never calls is overdue as well', async () => {
  await setClock('2033-02-02T00:00:00Z')
  const id = await aSchedule({ cron: '0 5 1 1 *' })
  await createPing(ctx, { id, period: 60, grace: 0 })
  await setClock('2033-02-02T00:01:00Z')
  await world().tick()
  expect(await typesOf()).toEqual(['schedule.overdue'])
})

test('of a paused schedule nothing is expected; resumed, the period begins anew', async () => {
  await setClock('2033-02-03T00:00:00Z')
  const id = await aSchedule({ cron: '0 5 1 1 *' })
  const { url } = await createPing(ctx, { id, period: '1h', grace: 0 })
  await pauseSchedule(ctx, { id })
  await receivePing(ctx, tokenOf(url))
  expect(await getPing(ctx, { id })).toMatchObject({ status: 'paused', due_at: null })
  await setClock('2033-02-03T12:00:00Z')
  await world().tick()
  await resumeSchedule(ctx, { id })
  expect(await getPing(ctx, { id })).toMatchObject({ due_at: '2033-02-03T13:00:00.000Z' })
  await world().tick()
  expect(await typesOf()).toEqual([])
})

test('the token is stored as a hash alone, and another address makes the one before worthless', async () => {
  await setClock('2033-02-04T00:00:00Z')
  const id = await aSchedule({ cron: '0 5 1 1 *' })
  const first = await createPing(ctx, { id, period: '1h' })
  const row = await db.selectFrom('schedule_pings').selectAll().executeTakeFirstOrThrow()
  expect(JSON.stringify(row)).not.toContain(tokenOf(first.url))
  const second = await createPing(ctx, { id, period: '2h' })
  await expect(receivePing(ctx, tokenOf(first.url))).rejects.toMatchObject({ kind: 'not-found' })
  await expect(receivePing(ctx, 'x'.repeat(43))).rejects.toMatchObject({ kind: 'not-found' })
  await expect(receivePing(ctx, "' or true --")).rejects.toMatchObject({ kind: 'not-found' })
  expect(await receivePing(ctx, tokenOf(second.url))).toEqual({ received_at: '2033-02-04T00:00:00.000Z' })
  expect(await getPing(ctx, { id })).toMatchObject({ period: 7200, status: 'ok' })
})

test('alerts can be changed and taken away like any other setting', async () => {
  await setClock('2033-02-05T00:00:00Z')
  const id = await aSchedule({ cron: '0 5 1 1 *', alerts })
  expect((await updateSchedule(ctx, { id, overlap: 'allow' })).alerts).toMatchObject({
    url: alerts.url,
    late_after: 60,
  })
  expect((await updateSchedule(ctx, { id, alerts: null })).alerts).toBeNull()
  await expect(updateSchedule(ctx, { id, alerts: { ...alerts, late_after: 'soon' } })).rejects.toMatchObject({
    errors: [{ pointer: '/alerts/late_after' }],
  })
})

test('an address that never answers holds up no other workspace', async () => {
  await setClock('2033-01-03T06:30:00Z')
  const other = await createServiceContext(bench)
  const told = async (of: typeof ctx, count: number) => {
    const slow = { ...bench, ctx: of }
    const { id } = await createSchedule(of, {
      recipe_id: await aRecipe(slow),
      name: 'nightly',
      cron: '0 * * * *',
      alerts: { url: of === ctx ? alerts.url : 'https://well.example/hook' },
    })
    await db
      .insertInto('schedule_events')
      .values(
        Array.from({ length: count }, (_, n) => ({
          id: uuidv7(),
          workspace_id: of.actor.workspaceId,
          schedule_id: id,
          type: 'schedule.slot_missed',
          data: jsonb({ n }),
          delivery: 'pending' as const,
          next_attempt_at: new Date('2033-01-03T06:00:00Z'),
        })),
      )
      .execute()
  }
  await told(ctx, 300)
  const posted: string[] = []
  let release = () => {}
  const released = new Promise<void>((resolve) => (release = resolve))
  const deferred: Promise<unknown>[] = []
  const tick = () =>
    alertsTick({
      ...ctx,
      defer: (work) => void deferred.push(work),
      egress: async ({ url }) => {
        posted.push(url)
        if (url === alerts.url) await released
        return new Response(null, { status: 204 })
      },
    })
  await tick()
  await told(other, 1)
  await tick()
  expect(posted.filter((url) => url !== alerts.url)).toEqual(['https://well.example/hook'])
  await tick()
  expect(
    posted.filter((url) => url === alerts.url),
    'no more than its share',
  ).toHaveLength(4)
  release()
  await Promise.all(deferred)
})
