import { sql, type Transaction } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { AppError } from '../../lib/errors.ts'
import { requireMatch } from '../../lib/etag.ts'
import { recordAudit } from '../audit/record.ts'
import { callerCacheOf } from '../identity/caller-cache.ts'
import { releaseWorkspace } from '../runs/concurrency/held.ts'
import { lockCurrent, requireCurrent } from './current.ts'
import { toWorkspace, workspaceTag, type Workspace } from './workspace.ts'

/** `paused_by` of the pause that a deletion brings; one of the workspace's own outlives a restoration. */
const byDeletion = 'system:deletion'

/**
 * From now on the workspace can be read, exported and restored, and nothing else: what callers hold there is cut down to that
 * (`permissionsIn`), no run is claimed, no slot fires, invitations are void. Once the grace is over the purge takes it.
 */
export async function deleteWorkspace(ctx: ServiceContext, named: string, ifMatch: string | null): Promise<Workspace> {
  requireCurrent(ctx, named)
  const { workspaceId } = ctx.actor
  const workspace = await ctx.db.transaction().execute(async (tx) => {
    const before = await lockCurrent(tx, ctx)
    requireMatch(ifMatch, workspaceTag(toWorkspace(before)))
    if (before.is_operator) {
      throw new AppError('conflict', "The operator's workspace holds the installation together and cannot be deleted.")
    }
    if (before.deleted_at) return toWorkspace(before)
    const row = await tx
      .updateTable('workspaces')
      .set({
        deleted_at: sql<Date>`app_now()`,
        purge_after: sql<Date>`app_now() + ${ctx.config.workspaceGraceDays}::integer * interval '1 day'`,
        updated_at: sql<Date>`app_now()`,
      })
      .where('id', '=', workspaceId)
      .returningAll()
      .executeTakeFirstOrThrow()
    await stopWorkspace(tx, workspaceId)
    const after = toWorkspace(row)
    await recordAudit(tx, ctx, {
      action: 'workspace.deleted',
      target: { type: 'workspace', id: workspaceId },
      after: { purge_after: after.purge_after },
    })
    return after
  })
  callerCacheOf(ctx).forget(workspaceId)
  return workspace
}

/** Of a workspace that was just deleted: no run is claimed, no slot fires, nobody comes in by an invitation. */
export async function stopWorkspace(tx: Transaction<Database>, workspaceId: string): Promise<void> {
  await tx
    .insertInto('workspace_pauses')
    .values({ workspace_id: workspaceId, reason: 'The workspace is to be deleted.', paused_by: byDeletion })
    .onConflict((conflict) => conflict.column('workspace_id').doNothing())
    .execute()
  await tx.updateTable('schedules').set({ next_fire_at: null }).where('workspace_id', '=', workspaceId).execute()
  await tx
    .updateTable('invitations')
    .set({ revoked_at: sql<Date>`app_now()` })
    .where('workspace_id', '=', workspaceId)
    .where('accepted_at', 'is', null)
    .where('revoked_at', 'is', null)
    .execute()
}

/** Slots of the time between are accounted for by the misfire policy of each schedule, as after any outage. */
export async function restoreWorkspace(ctx: ServiceContext, named: string): Promise<Workspace> {
  requireCurrent(ctx, named)
  const { workspaceId } = ctx.actor
  const workspace = await ctx.db.transaction().execute(async (tx) => {
    const before = await lockCurrent(tx, ctx)
    if (!before.deleted_at) return toWorkspace(before)
    const row = await tx
      .updateTable('workspaces')
      .set({ deleted_at: null, purge_after: null, updated_at: sql<Date>`app_now()` })
      .where('id', '=', workspaceId)
      .where('purge_after', '>', sql<Date>`app_now()`)
      .returningAll()
      .executeTakeFirst()
    if (!row) throw new AppError('conflict', 'The time to restore the workspace is over.')
    const { numDeletedRows } = await tx
      .deleteFrom('workspace_pauses')
      .where('workspace_id', '=', workspaceId)
      .where('paused_by', '=', byDeletion)
      .executeTakeFirst()
    if (numDeletedRows > 0n) await releaseWorkspace(tx, workspaceId)
    await tx
      .updateTable('schedules')
      .set({ next_fire_at: sql<Date>`app_now()` })
      .where('workspace_id', '=', workspaceId)
      .where('paused', '=', false)
      .where('fault', 'is', null)
      .where('next_fire_at', 'is', null)
      .execute()
    await recordAudit(tx, ctx, { action: 'workspace.restored', target: { type: 'workspace', id: workspaceId } })
    return toWorkspace(row)
  })
  // The caller may have chosen it, and act in another meanwhile.
  for (const id of [workspaceId, ctx.actor.id]) callerCacheOf(ctx).forget(id)
  ctx.wake.schedulesChanged()
  return workspace
}
