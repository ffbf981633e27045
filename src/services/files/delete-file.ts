import type { ServiceContext } from '../../context.ts'
import { requireMatch } from '../../lib/etag.ts'
import { isUuid } from '../../lib/ids.ts'
import { recordAudit, type AuditContext } from '../audit/record.ts'
import { fileKey, fileNotFound, fileTag, toFile } from './file.ts'
import { visibleFiles } from './read-files.ts'
import { eraseBlobs } from './sweep.ts'

/** The row and the note that its bytes are to go are one transaction. The bytes go at once where that works, else with the tick. */
export async function deleteFile(
  ctx: Pick<ServiceContext, 'db' | 'blobs' | 'log'> & AuditContext,
  id: string,
  ifMatch: string | null,
): Promise<void> {
  await ctx.db.transaction().execute(async (tx) => {
    const row = isUuid(id)
      ? await visibleFiles(tx, ctx.actor.workspaceId).where('id', '=', id).forUpdate().executeTakeFirst()
      : undefined
    if (!row) throw fileNotFound(id)
    requireMatch(ifMatch, fileTag(toFile(row)))
    await tx.deleteFrom('files').where('workspace_id', '=', ctx.actor.workspaceId).where('id', '=', row.id).execute()
    const before = { media_type: row.media_type, size: row.size, sha256: row.sha256 }
    await recordAudit(tx, ctx, { action: 'file.deleted', target: { type: 'file', id: row.id }, before })
  })
  await eraseBlobs(ctx, [fileKey(ctx.actor.workspaceId, id.toLowerCase())])
}
