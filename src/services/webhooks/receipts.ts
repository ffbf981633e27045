import type { Kysely } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { jsonb } from '../../db/json.ts'
import { newestFirst } from '../../db/keyset.ts'
import type { StoredRequest, WebhookVerdict } from '../../db/tables/webhooks.table.ts'
import { AppError } from '../../lib/errors.ts'
import { isUuid } from '../../lib/ids.ts'
import { byCreation, toPage, type Page, type PageRequest } from '../../lib/pagination.ts'
import { findWebhook } from './store.ts'
import { toReceipt, type Receipt } from './view.ts'

export interface NewReceipt {
  id: string
  webhookId: string
  workspaceId: string
  eventId: string | null
  verdict: WebhookVerdict
  reason: string | null
  status: number
  runId: string | null
  redeliveryOf: string | null
  contentType: string | null
  size: number
  signatureHash: string | null
  request: StoredRequest | null
}

/** False: the event has been taken before, by whoever came first. */
export async function insertReceipt(db: Kysely<Database>, receipt: NewReceipt): Promise<boolean> {
  const row = await db
    .insertInto('webhook_receipts')
    .values({
      id: receipt.id,
      webhook_id: receipt.webhookId,
      workspace_id: receipt.workspaceId,
      event_id: receipt.eventId,
      signature_hash: receipt.signatureHash,
      verdict: receipt.verdict,
      reason: receipt.reason?.slice(0, 1000) ?? null,
      status: receipt.status,
      run_id: receipt.runId,
      redelivery_of: receipt.redeliveryOf,
      content_type: receipt.contentType?.slice(0, 200) ?? null,
      size: receipt.size,
      request: receipt.request ? jsonb(receipt.request) : null,
    })
    .onConflict((conflict) => conflict.doNothing())
    .returning('id')
    .executeTakeFirst()
  return row !== undefined
}

/** What was made of an event when it came first, under its id or with its signature. */
export function findFirst(
  db: Kysely<Database>,
  { webhookId, eventId, signatureHash }: Pick<NewReceipt, 'webhookId' | 'eventId' | 'signatureHash'>,
) {
  return db
    .selectFrom('webhook_receipts')
    .select(['id', 'verdict', 'run_id'])
    .where('webhook_id', '=', webhookId)
    .where((where) =>
      where.or([
        ...(eventId === null ? [] : [where('event_id', '=', eventId)]),
        ...(signatureHash === null ? [] : [where('signature_hash', '=', signatureHash)]),
      ]),
    )
    .where('redelivery_of', 'is', null)
    .where('verdict', 'in', ['accepted', 'filtered'])
    .orderBy('created_at')
    .orderBy('id')
    .limit(1)
    .executeTakeFirst()
}

type Context = Pick<ServiceContext, 'db' | 'actor' | 'config'>

export async function listReceipts(
  ctx: Context,
  { id, verdict, ...page }: PageRequest & { id: string; verdict?: WebhookVerdict | undefined },
): Promise<Page<Receipt>> {
  const webhook = await findWebhook(ctx.db, ctx, id)
  const all = ctx.db.selectFrom('webhook_receipts').selectAll().where('webhook_id', '=', webhook.id)
  const rows = await newestFirst(verdict ? all.where('verdict', '=', verdict) : all, page).execute()
  return toPage(rows, page.limit, byCreation, toReceipt)
}

export async function findReceipt(db: Kysely<Database>, webhookId: string, id: string) {
  const row = isUuid(id)
    ? await db
        .selectFrom('webhook_receipts')
        .selectAll()
        .where('webhook_id', '=', webhookId)
        .where('id', '=', id)
        .executeTakeFirst()
    : undefined
  if (!row) throw new AppError('not-found', `The delivery ${id.slice(0, 100)} does not exist.`)
  return row
}
