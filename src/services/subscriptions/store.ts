import type { Kysely, UpdateObject } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { AppError } from '../../lib/errors.ts'
import { isUuid } from '../../lib/ids.ts'
import { appNow, withPrevious, type SubscriptionRow } from './view.ts'

type Tenant = Pick<ServiceContext, 'actor'>

const notFound = (id: string) =>
  new AppError('not-found', `The webhook subscription ${id.slice(0, 100)} does not exist.`)

const select = (db: Kysely<Database>, { actor }: Tenant, id: string) =>
  db
    .selectFrom('webhook_subscriptions')
    .selectAll()
    .select(withPrevious)
    .where('workspace_id', '=', actor.workspaceId)
    .where('id', '=', id)

export async function findSubscription(db: Kysely<Database>, tenant: Tenant, id: string): Promise<SubscriptionRow> {
  const row = isUuid(id) ? await select(db, tenant, id).executeTakeFirst() : undefined
  if (!row) throw notFound(id)
  return row
}

export async function lockSubscription(db: Kysely<Database>, tenant: Tenant, id: string): Promise<SubscriptionRow> {
  const row = isUuid(id) ? await select(db, tenant, id).forUpdate().executeTakeFirst() : undefined
  if (!row) throw notFound(id)
  return row
}

/** Of a row that is locked. */
export const changeSubscription = (
  tx: Kysely<Database>,
  { id, workspace_id }: Pick<SubscriptionRow, 'id' | 'workspace_id'>,
  changes: UpdateObject<Database, 'webhook_subscriptions'>,
): Promise<SubscriptionRow> =>
  tx
    .updateTable('webhook_subscriptions')
    .set({ ...changes, updated_at: appNow })
    .where('id', '=', id)
    .where('workspace_id', '=', workspace_id)
    .returningAll()
    .returning(withPrevious)
    .executeTakeFirstOrThrow()
