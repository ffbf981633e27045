import { sql } from 'kysely'
import type { Runtime } from '../../context.ts'
import { jsonb } from '../../db/json.ts'
import type { DeliveryAttempt } from '../../db/tables/webhooks.table.ts'
import { EgressError } from '../../lib/egress-error.ts'
import { parseRetryAfter } from '../../lib/retry-after.ts'
import { signMessage } from '../../lib/standard-webhooks.ts'
import { productName, version } from '../../lib/version.ts'
import { awaitQuick, InFlightByDatabase } from '../in-flight.ts'
import { openSecrets } from './secrets.ts'

/** At once, and then after these: the schedule that Standard Webhooks recommends. */
const minute = 60_000
const hour = 60 * minute
export const retryDelaysMs = [
  5_000,
  5 * minute,
  30 * minute,
  2 * hour,
  5 * hour,
  10 * hour,
  14 * hour,
  20 * hour,
  24 * hour,
] as const
export const disabledAfterDays = 5
/** Attempts that one pass starts, that are under way in a process at a time, and those of one workspace among them. */
const deliveryBatch = 100
const mostInFlight = 400
const perWorkspace = 40
/** One receiver has no more of them than this; one that has failed last, little more than a probe. */
const perReceiver = { well: 20, failing: 2 }
const underWay = new InFlightByDatabase()
const timeoutMs = 10_000
/** Longer than an attempt can take: who has not written its outcome by then is gone. */
const leaseSeconds = 60
const maxResponseBytes = 65_536
const attemptsKept = 20
const maxRetryAfterMs = 24 * hour

type Parts = Pick<Runtime, 'db' | 'cipher' | 'egress' | 'clock' | 'log' | 'random' | 'defer'>

interface Claimed {
  id: string
  attempts: number
  tries: number
  body: string
  subscription_id: string
  workspace_id: string
  url: string
  secret: string
  previous_secret: string | null
  has_previous: boolean
  sent_at: Date
}

/**
 * Sends what is due. Answers how many deliveries it took up; those whose receiver is slow are still under way then, under
 * their lease, and the next pass goes on beside them.
 */
export async function deliverDue(runtime: Parts): Promise<number> {
  const inFlight = underWay.of(runtime.db)
  const room = Math.min(deliveryBatch, mostInFlight - inFlight.total)
  if (room <= 0) return 0
  const claimed = await claim(runtime, room, inFlight.held())
  const attempts = claimed.map((delivery) =>
    inFlight.run([delivery.workspace_id, delivery.subscription_id], () => attempt(runtime, delivery)),
  )
  await awaitQuick(Promise.all(attempts), (work) => runtime.defer(work))
  return claimed.length
}

/**
 * Moves the next attempt behind the end of this one, in a statement that skips what another process holds. So a delivery
 * is in one process at a time, and one whose process is gone becomes due by itself.
 *
 * It goes from receiver to receiver of those with something pending. Workspaces take turns: first one of each, then a
 * second, counting what each has under way; between equals lots are drawn, so that nobody is always behind the others.
 */
async function claim({ db }: Parts, room: number, held: Record<string, number>): Promise<Claimed[]> {
  const { rows } = await sql<Claimed>`
    with recursive receivers as (
      (select subscription_id from webhook_deliveries where status = 'pending' and next_attempt_at is not null
        order by subscription_id limit 1)
      union all
      select (select d.subscription_id from webhook_deliveries d
        where d.status = 'pending' and d.next_attempt_at is not null and d.subscription_id > r.subscription_id
        order by d.subscription_id limit 1)
      from receivers r where r.subscription_id is not null
    ), under_way as materialized (
      select key::uuid as id, value::integer as count from jsonb_each_text(${JSON.stringify(held)}::text::jsonb)
    ), due as (
      select s.workspace_id, head.id, row_number() over (
        partition by s.workspace_id order by head.place, head.next_attempt_at, head.id) as place
      from receivers r
      join webhook_subscriptions s on s.id = r.subscription_id
      left join under_way u on u.id = s.id
      cross join lateral (
        select d.id, d.next_attempt_at, row_number() over (order by d.next_attempt_at, d.id) as place
        from webhook_deliveries d
        where d.subscription_id = s.id and d.status = 'pending' and d.next_attempt_at <= app_now()
        order by d.next_attempt_at, d.id
        limit greatest(0, coalesce(-u.count, 0)
          + case when s.failures = 0 then ${perReceiver.well}::integer else ${perReceiver.failing}::integer end)
      ) head
      where s.active and coalesce(s.retry_at <= app_now(), true)
    ), candidates as (
      select due.id from due left join under_way u on u.id = due.workspace_id
      where due.place + coalesce(u.count, 0) <= ${perWorkspace}::integer
      order by due.place + coalesce(u.count, 0), random()
      limit ${room}::integer
    ), held as (
      select id from webhook_deliveries
      where id in (select id from candidates) and status = 'pending' and next_attempt_at <= app_now()
      for update skip locked
    )
    update webhook_deliveries d set attempts = d.attempts + 1, tries = d.tries + 1,
      next_attempt_at = app_now() + ${leaseSeconds}::integer * interval '1 second'
    from held, webhook_subscriptions s
    where d.id = held.id and s.id = d.subscription_id
    returning d.id, d.attempts, d.tries, d.body, d.subscription_id, d.workspace_id, s.url, s.secret, s.previous_secret,
      coalesce(s.previous_until > app_now(), false) as has_previous, app_now() as sent_at`.execute(db)
  return rows
}

interface Outcome {
  status: number | null
  error: string | null
  retryAfterMs: number | null
  isGone: boolean
}

async function attempt(runtime: Parts, delivery: Claimed): Promise<void> {
  const begunMs = runtime.clock.monotonicMs()
  const outcome = await send(runtime, delivery)
  const entry: DeliveryAttempt = {
    attempt: delivery.attempts,
    at: delivery.sent_at.toISOString(),
    status: outcome.status,
    error: outcome.error,
    duration_ms: Math.round(runtime.clock.monotonicMs() - begunMs),
  }
  try {
    await (outcome.error === null ? delivered(runtime, delivery, entry) : failed(runtime, delivery, entry, outcome))
  } catch (error) {
    // The receiver may have it. It is sent once more when the lease ends, under the same id.
    runtime.log.warn('The outcome of a webhook delivery could not be stored.', { delivery_id: delivery.id, error })
  }
}

async function send(runtime: Parts, delivery: Claimed): Promise<Outcome> {
  const { cipher, egress, clock } = runtime
  try {
    const secrets = await openSecrets(cipher, 'webhook_subscriptions', {
      ...delivery,
      id: delivery.subscription_id,
    })
    const response = await egress(
      new Request(delivery.url, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'user-agent': `${productName.replaceAll(' ', '-')}/${version}`,
          ...signMessage(secrets, {
            id: delivery.id,
            timestampS: Math.floor(delivery.sent_at.getTime() / 1000),
            body: delivery.body,
          }),
        },
        body: delivery.body,
      }),
      // A redirect would send the message where nobody asked for it.
      { workspaceId: delivery.workspace_id, secrets: false, timeoutMs, maxResponseBytes, maxRedirects: 0 },
    )
    await response.body?.cancel()
    const { status } = response
    return {
      status,
      error: response.ok ? null : `The receiver answered ${status}.`,
      retryAfterMs: parseRetryAfter(Object.fromEntries(response.headers), clock.now().getTime()),
      isGone: status === 410,
    }
  } catch (error) {
    // Of our own errors nothing is told: they may name what is not the tenant's.
    const detail = error instanceof EgressError ? error.message : 'The message could not be sent.'
    if (!(error instanceof EgressError))
      runtime.log.error('A webhook could not be sent.', { delivery_id: delivery.id, error })
    return { status: null, error: detail.slice(0, 500), retryAfterMs: null, isGone: false }
  }
}

const logged = (entry: DeliveryAttempt) => sql<never>`(
  select coalesce(jsonb_agg(kept.item order by kept.place), '[]') from (
    select item, place from jsonb_array_elements(log || ${jsonb([entry])}) with ordinality as all_items(item, place)
    order by place desc limit ${attemptsKept}::integer
  ) kept
)`

async function delivered({ db }: Parts, delivery: Claimed, entry: DeliveryAttempt): Promise<void> {
  await db
    .updateTable('webhook_deliveries')
    .set({ status: 'delivered', next_attempt_at: null, finished_at: sql<Date>`app_now()`, log: logged(entry) })
    .where('id', '=', delivery.id)
    .where('attempts', '=', delivery.attempts)
    .where('status', '=', 'pending')
    .execute()
  // A subscription that is well is not written to.
  await db
    .updateTable('webhook_subscriptions')
    .set({ failures: 0, failing_since: null, retry_at: null })
    .where('id', '=', delivery.subscription_id)
    .where('failures', '>', 0)
    .execute()
}

async function failed(
  runtime: Parts,
  delivery: Claimed,
  entry: DeliveryAttempt,
  { retryAfterMs, isGone }: Outcome,
): Promise<void> {
  const planned = retryDelaysMs[delivery.tries - 1]
  const delayMs =
    planned === undefined ? null : Math.max(jittered(runtime, planned), Math.min(retryAfterMs ?? 0, maxRetryAfterMs))
  await runtime.db.transaction().execute(async (tx) => {
    // First the subscription, then what is its own: the order in which everybody locks them.
    await tx
      .selectFrom('webhook_subscriptions')
      .select('id')
      .where('id', '=', delivery.subscription_id)
      .forNoKeyUpdate()
      .execute()
    const { numUpdatedRows } = await tx
      .updateTable('webhook_deliveries')
      .set({
        log: logged(entry),
        ...(delayMs === null
          ? { status: 'failed' as const, next_attempt_at: null, finished_at: sql<Date>`app_now()` }
          : { next_attempt_at: sql<Date>`app_now() + ${delayMs}::double precision * interval '1 millisecond'` }),
      })
      .where('id', '=', delivery.id)
      .where('attempts', '=', delivery.attempts)
      .where('status', '=', 'pending')
      .executeTakeFirstOrThrow()
    if (numUpdatedRows === 0n) return
    // While it fails the other messages wait too, so that nobody is called again and again for nothing.
    await sql`
      update webhook_subscriptions set failures = failures + 1, failing_since = coalesce(failing_since, app_now()),
        retry_at = app_now() + least(power(2, least(failures, 12)) * 1000, 900000) * interval '1 millisecond'
      where id = ${delivery.subscription_id}::text::uuid`.execute(tx)
    await disable(tx, delivery.subscription_id, isGone)
  })
}

/** A receiver that is gone, or that has failed for days, is not called any more until somebody switches it on again. */
async function disable(tx: Parts['db'], subscriptionId: string, isGone: boolean): Promise<void> {
  const reason = isGone ? 'The receiver answered 410 Gone.' : `Every attempt has failed for ${disabledAfterDays} days.`
  const { rows } = await sql`
    update webhook_subscriptions set active = false, disabled_reason = ${reason}, updated_at = app_now()
    where id = ${subscriptionId}::text::uuid and active
      and (${isGone}::boolean or failing_since <= app_now() - ${disabledAfterDays}::integer * interval '1 day')
    returning id`.execute(tx)
  if (rows.length === 0) return
  await tx
    .updateTable('webhook_deliveries')
    .set({ next_attempt_at: null })
    .where('subscription_id', '=', subscriptionId)
    .where('status', '=', 'pending')
    .execute()
}

/** Up to a fifth more, so that what failed together does not come back together. */
function jittered({ random }: Parts, ms: number): number {
  return Math.round(ms * (1 + (random(1)[0]! / 255) * 0.2))
}
