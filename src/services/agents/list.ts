import type { ServiceContext } from '../../context.ts'
import { olderThan } from '../../db/keyset.ts'
import { readCursor, toPage, type Page, type PageRequest } from '../../lib/pagination.ts'
import { toAgent, type Agent } from './agent.ts'

export async function listAgents(
  { db, actor }: Pick<ServiceContext, 'db' | 'actor'>,
  page: PageRequest,
): Promise<Page<Agent>> {
  const after = readCursor(page.cursor)
  const rows = await db
    .selectFrom('agents')
    .selectAll()
    .where('workspace_id', '=', actor.workspaceId)
    .where('deleted_at', 'is', null)
    .$if(after !== null, (query) => query.where(olderThan(after!)))
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    .limit(page.limit + 1)
    .execute()
  return toPage(rows, page.limit, (row) => ({ createdAt: row.created_at, id: row.id }), toAgent)
}
