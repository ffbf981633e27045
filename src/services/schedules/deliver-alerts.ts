import { sql } from 'kysely'
import type { Runtime } from '../../context.ts'
import type { JsonObject } from '../../lib/json.ts'
import type { StoredAlerts } from '../../db/tables/schedules.table.ts'

/** Deliveries of one pass, and of one workspace among them: an address that hangs holds up only its own tenant. */
const batch = 20
const batchOfWorkspace = 4
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

/** Posts events to the addresses that their schedules name. At least once: the event's id tells a repeated one. */
export async function deliverAlerts(runtime: Runtime): Promise<{ done: number; more: boolean }> {
  const claimed = await claim(runtime)
  await Promise.all(claimed.map((event) => deliver(runtime, event)))
  return { done: claimed.length, more: claimed.length >= batchOfWorkspace }
}

async function claim({ db }: Runtime): Promise<Claimed[]> {
  const { rows } = await sql<Claimed>`
    update schedule_events set attempts = attempts + 1,
      next_attempt_at = app_now() + make_interval(secs => ${claimSeconds}::int)
    where id in (
      select id from schedule_events
      where delivery = 'pending' and next_attempt_at <= app_now() and id in (
        select id from (
          select id, next_attempt_at, row_number() over (partition by workspace_id order by next_attempt_at, id) as place
          from (
            select id, workspace_id, next_attempt_at from schedule_events
            where delivery = 'pending' and next_attempt_at <= app_now()
            order by next_attempt_at limit ${batch * 10}
          ) as due
        ) as ranked
        where place <= ${batchOfWorkspace} order by next_attempt_at limit ${batch}
      )
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
