import type { Kysely } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { recordAudit, type AuditContext } from '../audit/record.ts'
import { releaseWorkspace } from '../runs/concurrency/held.ts'

export interface Pause {
  reason: string | null
  paused_by: string
  paused_at: string
}

type Context = Pick<ServiceContext, 'db' | 'wake'> & AuditContext

/** Null while the workspace works. */
export async function readPause(db: Kysely<Database>, workspaceId: string): Promise<Pause | null> {
  const row = await db
    .selectFrom('workspace_pauses')
    .selectAll()
    .where('workspace_id', '=', workspaceId)
    .executeTakeFirst()
  return row ? { reason: row.reason, paused_by: row.paused_by, paused_at: row.paused_at.toISOString() } : null
}

/**
 * One row says that the workspace rests. What triggers start meanwhile is queued as always, and workflows stay where they
 * are; a tick takes what is ready out of the way of the claims of others. A second pause changes nothing.
 */
export async function pauseWorkspace(ctx: Context, reason: string | null): Promise<{ paused: Pause | null }> {
  const { db, actor } = ctx
  await db.transaction().execute(async (tx) => {
    const { numInsertedOrUpdatedRows } = await tx
      .insertInto('workspace_pauses')
      .values({ workspace_id: actor.workspaceId, reason, paused_by: `${actor.kind}:${actor.id}` })
      .onConflict((conflict) => conflict.column('workspace_id').doNothing())
      .executeTakeFirst()
    if (numInsertedOrUpdatedRows)
      await recordAudit(tx, ctx, { action: 'workspace.paused', target: targetOf(ctx), after: { reason } })
  })
  return { paused: await readPause(db, actor.workspaceId) }
}

const targetOf = ({ actor }: Context) => ({ type: 'workspace', id: actor.workspaceId })

export async function resumeWorkspace(ctx: Context): Promise<{ paused: Pause | null }> {
  const { db, actor, wake } = ctx
  const isResumed = await db.transaction().execute(async (tx) => {
    const { numDeletedRows } = await tx
      .deleteFrom('workspace_pauses')
      .where('workspace_id', '=', actor.workspaceId)
      .executeTakeFirst()
    if (numDeletedRows > 0n) await recordAudit(tx, ctx, { action: 'workspace.resumed', target: targetOf(ctx) })
    return numDeletedRows > 0n
  })
  if (isResumed) {
    await releaseWorkspace(db, actor.workspaceId)
    // Any of them: it only says that there is something to claim again.
    const waiting = await db
      .selectFrom('run_queue')
      .select('run_id')
      .where('workspace_id', '=', actor.workspaceId)
      .limit(1)
      .executeTakeFirst()
    if (waiting) wake.runReady(waiting.run_id)
  }
  return { paused: null }
}
