import { sql, type Kysely, type UpdateObject } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { AppError } from '../../lib/errors.ts'
import { isUuid } from '../../lib/ids.ts'
import { hasPrevious } from '../subscriptions/secrets.ts'
import type { WebhookRow } from './view.ts'

type Tenant = Pick<ServiceContext, 'actor'>

export const webhookNotFound = (id: string) =>
  new AppError('not-found', `The webhook ${id.slice(0, 100)} does not exist.`)

const select = (db: Kysely<Database>, id: string) =>
  db.selectFrom('webhooks').selectAll().select(hasPrevious).where('id', '=', id)

export async function findWebhook(db: Kysely<Database>, { actor }: Tenant, id: string): Promise<WebhookRow> {
  const row = isUuid(id)
    ? await select(db, id).where('workspace_id', '=', actor.workspaceId).executeTakeFirst()
    : undefined
  if (!row) throw webhookNotFound(id)
  return row
}

export async function lockWebhook(db: Kysely<Database>, { actor }: Tenant, id: string): Promise<WebhookRow> {
  const row = isUuid(id)
    ? await select(db, id).where('workspace_id', '=', actor.workspaceId).forUpdate().executeTakeFirst()
    : undefined
  if (!row) throw webhookNotFound(id)
  return row
}

/** Of a row that is locked. */
export const changeWebhook = (
  tx: Kysely<Database>,
  { id, workspace_id }: Pick<WebhookRow, 'id' | 'workspace_id'>,
  changes: UpdateObject<Database, 'webhooks'>,
): Promise<WebhookRow> =>
  tx
    .updateTable('webhooks')
    .set({ ...changes, updated_at: sql<Date>`app_now()` })
    .where('id', '=', id)
    .where('workspace_id', '=', workspace_id)
    .returningAll()
    .returning(hasPrevious)
    .executeTakeFirstOrThrow()

/** For whoever knows the address: who it is comes afterwards. One that is switched off is not there. */
export async function findByAddress(db: Kysely<Database>, id: string): Promise<WebhookRow & { now: Date }> {
  const row = isUuid(id)
    ? await select(db, id)
        .select(sql<Date>`app_now()`.as('now'))
        .where('active', '=', true)
        // A workspace that is to be purged takes nothing in.
        .where(
          sql<boolean>`not exists (select from workspaces w where w.id = webhooks.workspace_id and w.deleted_at is not null)`,
        )
        .executeTakeFirst()
    : undefined
  if (!row) throw webhookNotFound(id)
  return row
}
