import { sql } from 'kysely'
import type { Runtime } from '../../context.ts'
import { jsonb } from '../../db/json.ts'
import type { DeliveryAttempt } from '../../db/tables/webhooks.table.ts'
import { signMessage } from '../../lib/standard-webhooks.ts'
import { productName, version } from '../../lib/version.ts'
import { fateOf, type Fate } from '../outbox/backoff.ts'
import type { Message, Outbox } from '../outbox/outbox.ts'
import { post, type Answer } from '../outbox/post.ts'
import { createRelay } from '../outbox/relay.ts'
import { settle } from '../outbox/settle.ts'
import { openSecrets } from './secrets.ts'

const minutes = 60_000
const hours = 60 * minutes
export const disabledAfterDays = 5
/** One receiver has no more of them than this; one that has failed last, little more than a probe. */
const perReceiver = { well: 20, failing: 2 }
const maxResponseBytes = 65_536
const attemptsKept = 20

const outbox: Outbox = {
  table: 'webhook_deliveries',
  key: ['id'],
  state: { column: 'status', taken: 'delivered' },
  // At once, and then after these: the schedule that Standard Webhooks recommends.
  delaysMs: [5_000, 5 * minutes, 30 * minutes, ...[2, 5, 10, 14, 20, 24].map((count) => count * hours)],
  tries: 'tries',
  most: { pass: 100, process: 400, workspace: 40 },
  receivers: {
    column: 'subscription_id',
    open: sql`join webhook_subscriptions s
      on s.id = l.id and s.active and coalesce(s.retry_at <= app_now(), true)`,
    most: sql`case when s.failures = 0 then ${perReceiver.well}::integer else ${perReceiver.failing}::integer end`,
  },
  select: sql`
    select o.*, s.url, s.secret, s.previous_secret, coalesce(s.previous_until > app_now(), false) as has_previous,
      app_now() as sent_at
    from claimed o join webhook_subscriptions s on s.id = o.subscription_id`,
}

type Parts = Pick<Runtime, 'db' | 'cipher' | 'egress' | 'clock' | 'log' | 'random' | 'defer'>

interface Claimed extends Message {
  id: string
  body: string
  subscription_id: string
  url: string
  secret: string
  previous_secret: string | null
  has_previous: boolean
  sent_at: Date
}

/** Sends what is due to those who have subscribed to it. Answers how many deliveries it took up. */
export const deliverDue = async (runtime: Parts): Promise<number> => (await relay(runtime)).done

const relay = createRelay(outbox, async (runtime: Parts, delivery: Claimed) => {
  const begunMs = runtime.clock.monotonicMs()
  const answer = await send(runtime, delivery)
  const entry: DeliveryAttempt = {
    attempt: delivery.attempts,
    at: delivery.sent_at.toISOString(),
    status: answer.status,
    error: answer.isTaken ? null : (answer.failure ?? `The receiver answered ${answer.status}.`),
    duration_ms: Math.round(runtime.clock.monotonicMs() - begunMs),
  }
  const fate = fateOf(outbox, delivery, answer.isTaken ? null : answer, runtime)
  await (answer.isTaken
    ? delivered(runtime, delivery, fate, entry)
    : failed(runtime, delivery, fate, entry, answer.status === 410))
})

const send = (runtime: Parts, delivery: Claimed): Promise<Answer> =>
  post(
    runtime,
    async () => {
      const { id, body } = delivery
      const secrets = await openSecrets(runtime.cipher, 'webhook_subscriptions', {
        ...delivery,
        id: delivery.subscription_id,
      })
      return new Request(delivery.url, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'user-agent': `${productName.replaceAll(' ', '-')}/${version}`,
          ...signMessage(secrets, { id, timestampS: Math.floor(delivery.sent_at.getTime() / 1000), body }),
        },
        body,
      })
    },
    // A redirect would send the message where nobody asked for it.
    { workspaceId: delivery.workspace_id, secrets: false, maxResponseBytes, maxRedirects: 0 },
    { delivery_id: delivery.id },
  )

const logged = (entry: DeliveryAttempt) => sql<never>`(
  select coalesce(jsonb_agg(kept.item order by kept.place), '[]') from (
    select item, place from jsonb_array_elements(log || ${jsonb([entry])}) with ordinality as all_items(item, place)
    order by place desc limit ${attemptsKept}::integer
  ) kept
)`

const finished = (entry: DeliveryAttempt) => sql`log = ${logged(entry)}, finished_at = app_now()`

async function delivered({ db }: Parts, delivery: Claimed, fate: Fate, entry: DeliveryAttempt): Promise<void> {
  await settle(db, outbox, delivery, fate, finished(entry))
  // A subscription that is well is not written to.
  await db
    .updateTable('webhook_subscriptions')
    .set({ failures: 0, failing_since: null, retry_at: null })
    .where('id', '=', delivery.subscription_id)
    .where('failures', '>', 0)
    .execute()
}

async function failed(
  { db }: Parts,
  delivery: Claimed,
  fate: Fate,
  entry: DeliveryAttempt,
  isGone: boolean,
): Promise<void> {
  await db.transaction().execute(async (tx) => {
    // First the subscription, then what is its own: the order in which everybody locks them.
    const subscription = await tx
      .selectFrom('webhook_subscriptions')
      .select('active')
      .where('id', '=', delivery.subscription_id)
      .forNoKeyUpdate()
      .executeTakeFirst()
    const noted = fate.state === 'failed' ? finished(entry) : sql`log = ${logged(entry)}`
    // Switched off meanwhile: it waits with the others until somebody switches it on again.
    const isHeld = fate.state === 'pending' && subscription?.active === false
    if (!(await settle(tx, outbox, delivery, isHeld ? { state: 'pending', inMs: null } : fate, noted))) return
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
