import { sql } from 'kysely'
import type { Runtime } from '../../context.ts'
import type { JsonObject } from '../../lib/json.ts'
import type { StoredAlerts } from '../../db/tables/schedules.table.ts'
import { awaitQuick, InFlightByDatabase } from '../in-flight.ts'

/** Deliveries of one pass, those under way in a process, and of one workspace among them: an address that hangs holds up only its own tenant. */
const batch = 20
const mostInFlight = 100
const perWorkspace = 4
const underWay = new InFlightByDatabase()
const timeoutMs = 10_000
/** Longer than a delivery can take: whoever claimed it and died leaves it to the next after that. */
const claimSeconds = 60
/** Before the second attempt and each further one; with a fifth of it either way, so that not all come at once. */
const delaysSeconds = [10, 60, 300, 1_800, 7_200, 21_600, 43_200]
const maxAttempts = delaysSeconds.length + 1

interface Claimed {
  id: string
  workspace_id: string
  schedule_id: string
  type: string
  data: JsonObject
  attempts: number
  created_at: Date
}

/**
 * Posts events to the addresses that their schedules name. At least once: the event's id tells a repeated one. What is
 * slow is still under way when it returns, under its claim.
 */
export async function deliverAlerts(runtime: Runtime): Promise<{ done: number; more: boolean }> {
  const inFlight = underWay.of(runtime.db)
  const room = Math.min(batch, mostInFlight - inFlight.total)
  if (room <= 0) return { done: 0, more: false }
  const claimed = await claim(runtime, room, inFlight.held())
  const attempts = claimed.map((event) => inFlight.run([event.workspace_id], () => deliver(runtime, event)))
  await awaitQuick(Promise.all(attempts), (work) => runtime.defer(work))
  return { done: claimed.length, more: claimed.length >= perWorkspace }
}

/** Workspaces take turns as the deliveries of webhooks do: first one of each, by lot between equals. */
async function claim({ db }: Runtime, room: number, held: Record<string, number>): Promise<Claimed[]> {
  const { rows } = await sql<Claimed>`
    with recursive tenants as (
      (select workspace_id from schedule_events where delivery = 'pending' order by workspace_id limit 1)
      union all
      select (select e.workspace_id from schedule_events e
        where e.delivery = 'pending' and e.workspace_id > t.workspace_id order by e.workspace_id limit 1)
      from tenants t where t.workspace_id is not null
    ), under_way as materialized (
      select key::uuid as id, value::integer as count from jsonb_each_text(${JSON.stringify(held)}::text::jsonb)
    ), candidates as (
      select head.id from tenants t
      left join under_way u on u.id = t.workspace_id
      cross join lateral (
        select e.id, row_number() over (order by e.next_attempt_at, e.id) as place from schedule_events e
        where e.workspace_id = t.workspace_id and e.delivery = 'pending' and e.next_attempt_at <= app_now()
        order by e.next_attempt_at, e.id
        limit greatest(0, ${perWorkspace}::integer - coalesce(u.count, 0))
      ) head
      order by head.place + coalesce(u.count, 0), random()
      limit ${room}::integer
    )
    update schedule_events set attempts = attempts + 1,
      next_attempt_at = app_now() + make_interval(secs => ${claimSeconds}::int)
    where id in (
      select id from schedule_events
      where id in (select id from candidates) and delivery = 'pending' and next_attempt_at <= app_now()
      for update skip locked)
    returning id, workspace_id, schedule_id, type, data, attempts, created_at`.execute(db)
  return rows
}

interface Outcome {
  status: number | null
  /** Null: it was taken. */
  error: string | null
  /** False: nobody will take it, however often it is sent. */
  retry: boolean
}

async function deliver(runtime: Runtime, event: Claimed): Promise<void> {
  const { status, error, retry } = await post(runtime, event)
  const isLast = !retry || event.attempts >= maxAttempts
  const delay = delaysSeconds[Math.min(event.attempts, delaysSeconds.length) - 1] ?? 0
  const waits = error !== null && !isLast
  await sql`
    update schedule_events set last_status = ${status}::int, last_error = ${error}::text,
      delivery = ${error === null ? 'delivered' : waits ? 'pending' : 'failed'},
      delivered_at = case when ${error === null}::boolean then app_now() end,
      next_attempt_at = case when ${waits}::boolean
        then app_now() + make_interval(secs => ${delay}::double precision * (0.8 + 0.4 * random())) end
    where id = ${event.id} and attempts = ${event.attempts}`.execute(runtime.db)
}

async function post({ db, egress }: Runtime, event: Claimed): Promise<Outcome> {
  const schedule = await db
    .selectFrom('schedules')
    .select('alerts')
    .where('id', '=', event.schedule_id)
    .where('workspace_id', '=', event.workspace_id)
    .executeTakeFirst()
  const target: StoredAlerts | null = schedule?.alerts ?? null
  if (!target) return { status: null, error: 'The schedule names no address any more.', retry: false }
  try {
    const response = await egress(
      new Request(target.url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'webhook-id': event.id, 'idempotency-key': event.id },
        body: JSON.stringify({
          id: event.id,
          type: event.type,
          timestamp: event.created_at.toISOString(),
          data: event.data,
        }),
      }),
      {
        workspaceId: event.workspace_id,
        timeoutMs,
        ...(target.credential === null ? {} : { credential: target.credential }),
      },
    )
    await response.body?.cancel()
    return { status: response.status, error: response.ok ? null : `It answered ${response.status}.`, retry: true }
  } catch (failure) {
    return { status: null, error: failure instanceof Error ? failure.message.slice(0, 500) : 'failed', retry: true }
  }
}
