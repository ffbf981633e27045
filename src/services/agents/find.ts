import type { ServiceContext } from '../../context.ts'
import { AppError } from '../../lib/errors.ts'
import { isUuid } from '../../lib/ids.ts'
import { toAgent, type Agent } from './agent.ts'

type Context = Pick<ServiceContext, 'db' | 'actor'>

/** An agent of the workspace by id or slug; null where there is none, or where it belongs to someone else. */
export async function findAgent({ db, actor }: Context, ref: string): Promise<Agent | null> {
  const row = await db
    .selectFrom('agents')
    .selectAll()
    .where('workspace_id', '=', actor.workspaceId)
    .where(isUuid(ref) ? 'id' : 'slug', '=', ref)
    .where('deleted_at', 'is', null)
    .executeTakeFirst()
  return row ? toAgent(row) : null
}

export async function getAgent(ctx: Context, ref: string): Promise<Agent> {
  const agent = await findAgent(ctx, ref)
  if (!agent) throw agentNotFound(ref)
  return agent
}

export const agentNotFound = (ref: string): AppError =>
  new AppError('not-found', `There is no agent '${ref.slice(0, 100)}'.`)
