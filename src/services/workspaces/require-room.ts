import { sql, type Kysely } from 'kysely'
import type { Database } from '../../db/database.ts'
import { AppError } from '../../lib/errors.ts'

/** Throws where a workspace has as many as any may have, whatever its plan. Call it before the insert and in its transaction. */
export async function requireRoom(
  tx: Kysely<Database>,
  workspaceId: string,
  { table, most, noun }: { table: 'webhooks' | 'webhook_subscriptions'; most: number; noun: string },
): Promise<void> {
  // Requests of one workspace take turns, so that they cannot go beyond the limit together.
  await tx.selectFrom('workspaces').select('id').where('id', '=', workspaceId).forNoKeyUpdate().execute()
  const { rows } = await sql<{ count: number }>`
    select count(*)::integer as count from ${sql.table(table)} where workspace_id = ${workspaceId}`.execute(tx)
  if (rows[0]!.count >= most) throw new AppError('conflict', `A workspace can have ${most} ${noun} at most.`)
}
