import type { ServiceContext } from '../../context.ts'
import { requireMatch } from '../../lib/etag.ts'
import { isUuid } from '../../lib/ids.ts'
import { fileKey, fileNotFound, fileTag, toFile } from './file.ts'
import { visibleFiles } from './read-files.ts'
import { eraseBlobs } from './sweep.ts'

/** The row and the note that its bytes are to go are one transaction. The bytes go at once where that works, else with the tick. */
export async function deleteFile(
  ctx: Pick<ServiceContext, 'db' | 'blobs' | 'actor' | 'log'>,
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
  })
  await eraseBlobs(ctx, [fileKey(ctx.actor.workspaceId, id.toLowerCase())])
}
