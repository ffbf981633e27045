import type { Transaction } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { AppError } from '../../lib/errors.ts'

/**
 * A path may name the workspace in which the caller acts, by id or as `current`. Any other answers alike, whether it exists,
 * is somebody else's or one of the caller's own: that one is chosen with X-Workspace-ID.
 */
export function requireCurrent({ actor }: Pick<ServiceContext, 'actor'>, named: string): void {
  if (named !== 'current' && named.toLowerCase() !== actor.workspaceId) {
    throw new AppError('not-found', 'The path names no workspace in which you act. Send its id as X-Workspace-ID too.')
  }
}

/**
 * The row of the caller's workspace until the commit. Whoever changes what belongs to the whole of it takes turns here, while
 * runs and all else that only names the workspace go on.
 */
export async function lockCurrent(tx: Transaction<Database>, { actor }: Pick<ServiceContext, 'actor'>) {
  const row = await tx
    .selectFrom('workspaces')
    .selectAll()
    .where('id', '=', actor.workspaceId)
    .forNoKeyUpdate()
    .executeTakeFirst()
  if (!row) throw new AppError('not-found', 'The workspace does not exist any more.')
  return row
}
