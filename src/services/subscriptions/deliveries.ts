import type { Kysely } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { newestFirst } from '../../db/keyset.ts'
import { AppError } from '../../lib/errors.ts'
import { isUuid, uuidv7 } from '../../lib/ids.ts'
import { byCreation, toPage, type Page, type PageRequest } from '../../lib/pagination.ts'
import { testEventType } from '../../lib/webhook-events.ts'
import { findSubscription, lockSubscription } from './store.ts'
import { appNow, toDelivery, type Delivery } from './view.ts'

type Context = Pick<ServiceContext, 'db' | 'actor'>

export async function listDeliveries(
  ctx: Context,
  { id, status, ...page }: PageRequest & { id: string; status?: Delivery['status'] | undefined },
): Promise<Page<Delivery>> {
  const subscription = await findSubscription(ctx.db, ctx, id)
  const all = ctx.db.selectFrom('webhook_deliveries').selectAll().where('subscription_id', '=', subscription.id)
  const rows = await newestFirst(status ? all.where('status', '=', status) : all, page).execute()
  return toPage(rows, page.limit, byCreation, toDelivery)
}

/** With the very body that is sent. */
export async function getDelivery(
  ctx: Context,
  { id, delivery }: { id: string; delivery: string },
): Promise<Delivery & { body: string }> {
  const subscription = await findSubscription(ctx.db, ctx, id)
  const row = await find(ctx.db, subscription.id, delivery)
  return { ...toDelivery(row), body: row.body }
}

/** Sends it again, under the id that it had: a receiver that has it already can tell. */
export async function redeliver(ctx: Context, { id, delivery }: { id: string; delivery: string }): Promise<Delivery> {
  return ctx.db.transaction().execute(async (tx) => {
    const subscription = requireActive(await lockSubscription(tx, ctx, id))
    const row = await find(tx, subscription.id, delivery)
    const again = await tx
      .updateTable('webhook_deliveries')
      // Whoever has it in hand right now finds another number of attempts and writes nothing.
      .set({ status: 'pending', tries: 0, attempts: row.attempts + 1, next_attempt_at: appNow, finished_at: null })
      .where('id', '=', row.id)
      .returningAll()
      .executeTakeFirstOrThrow()
    // It is asked for now, so it does not wait for the pause after a failure.
    await tx.updateTable('webhook_subscriptions').set({ retry_at: null }).where('id', '=', subscription.id).execute()
    return toDelivery(again)
  })
}

/** Sends a message that says nothing, to see whether the receiver takes it. */
export async function testSubscription(ctx: Context & Pick<ServiceContext, 'clock'>, id: string): Promise<Delivery> {
  return ctx.db.transaction().execute(async (tx) => {
    const subscription = requireActive(await lockSubscription(tx, ctx, id))
    const key = uuidv7()
    const row = await tx
      .insertInto('webhook_deliveries')
      .values({
        id: key,
        subscription_id: subscription.id,
        workspace_id: ctx.actor.workspaceId,
        event_type: testEventType,
        event_key: key,
        body: JSON.stringify({
          type: testEventType,
          timestamp: ctx.clock.now().toISOString(),
          data: { subscription: { id: subscription.id, name: subscription.name } },
        }),
      })
      .returningAll()
      .executeTakeFirstOrThrow()
    await tx.updateTable('webhook_subscriptions').set({ retry_at: null }).where('id', '=', subscription.id).execute()
    return toDelivery(row)
  })
}

function requireActive<S extends { active: boolean }>(subscription: S): S {
  if (!subscription.active)
    throw new AppError('conflict', 'The subscription is switched off: set active to true first.')
  return subscription
}

async function find(db: Kysely<Database>, subscriptionId: string, id: string) {
  const row = isUuid(id)
    ? await db
        .selectFrom('webhook_deliveries')
        .selectAll()
        .where('subscription_id', '=', subscriptionId)
        .where('id', '=', id)
        .executeTakeFirst()
    : undefined
  if (!row) throw new AppError('not-found', `The delivery ${id.slice(0, 100)} does not exist.`)
  return row
}
