import type { ServiceContext } from '../../context.ts'
import { newestFirst } from '../../db/keyset.ts'
import { byCreation, toPage, type Page, type PageRequest } from '../../lib/pagination.ts'
import { toAgent, type Agent } from './agent.ts'

export async function listAgents(
  { db, actor }: Pick<ServiceContext, 'db' | 'actor'>,
  page: PageRequest,
): Promise<Page<Agent>> {
  const query = db
    .selectFrom('agents')
    .selectAll()
    .where('workspace_id', '=', actor.workspaceId)
    .where('deleted_at', 'is', null)
  const rows = await newestFirst(query, page).execute()
  return toPage(rows, page.limit, byCreation, toAgent)
}
