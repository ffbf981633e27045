import type { ServiceContext } from '../context.ts'
import { newestFirst } from '../db/keyset.ts'
import { byCreation, toPage, type Page, type PageRequest } from '../lib/pagination.ts'
import { findApiKey, toApiKey, type ApiKey } from './api-keys/api-key.ts'

export { apiKeyTag, type ApiKey } from './api-keys/api-key.ts'
export { updateApiKey } from './api-keys/change.ts'
export { createApiKey, type NewApiKey } from './api-keys/create.ts'
export { revokeApiKey } from './api-keys/revoke.ts'
export { longestOverlapS, rotateApiKey } from './api-keys/rotate.ts'

type Context = Pick<ServiceContext, 'db' | 'actor'>

/** Revoked and expired keys too: what they did must stay attributable. */
export async function listApiKeys({ db, actor }: Context, page: PageRequest): Promise<Page<ApiKey>> {
  const query = db.selectFrom('api_keys').selectAll().where('workspace_id', '=', actor.workspaceId)
  const rows = await newestFirst(query, page).execute()
  return toPage(rows, page.limit, byCreation, toApiKey)
}

export const getApiKey = async (ctx: Context, id: string): Promise<ApiKey> => toApiKey(await findApiKey(ctx, id))
