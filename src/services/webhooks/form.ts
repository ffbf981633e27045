import type { ServiceContext } from '../../context.ts'
import { sha256Hex } from '../../lib/canonical.ts'
import { AppError } from '../../lib/errors.ts'
import { uuidv7 } from '../../lib/ids.ts'
import type { Json } from '../../lib/json.ts'
import { readForm } from '../../lib/multipart.ts'
import { handleOf } from '../files/file.ts'
import { fileName, mediaTypeOf } from '../files/names.ts'
import { storeFile } from '../files/store-file.ts'
import { fieldsOf } from './decode.ts'

/** A file within a delivery, which is stored once the delivery is taken. */
export interface ReceivedFile {
  id: string
  name: string
  mediaType: string
  bytes: Uint8Array
}

const mostFiles = 20
/** Until then the run that they are for has been started, or never will be. */
const unboundDays = 1

export const isForm = (contentType: string | null): contentType is string =>
  /^\s*multipart\/form-data\s*(;|$)/i.test(contentType ?? '')

/** A form as a filter, a mapping and a recipe see it: files are handles. */
export function decodeForm(bytes: Uint8Array, contentType: string): { body: Json; files: ReceivedFile[] } {
  const parts = readForm(bytes, contentType)
  if (!parts) throw new AppError('malformed', 'The body is no multipart/form-data that can be read.')
  const files: ReceivedFile[] = []
  const entries = parts.map(({ name, content }): [string, Json] => {
    if (typeof content === 'string') return [name, content]
    const file = {
      id: uuidv7(),
      name: fileName(content.fileName),
      mediaType: mediaTypeOf(content.mediaType),
      bytes: content.bytes,
    }
    files.push(file)
    return [
      name,
      handleOf({ ...file, media_type: file.mediaType, size: file.bytes.byteLength, sha256: sha256Hex(file.bytes) }),
    ]
  })
  if (files.length > mostFiles) throw new AppError('too-large', `A webhook takes ${mostFiles} files at most.`)
  return { body: fieldsOf(entries), files }
}

export async function storeReceived(ctx: ServiceContext, files: readonly ReceivedFile[]): Promise<void> {
  for (const file of files) await storeFile(ctx, { ...file, source: 'webhook', expiresInDays: unboundDays })
}

/** In the transaction that starts the run: from then on they go with it. */
export async function bindReceived(
  { db, actor }: Pick<ServiceContext, 'db' | 'actor'>,
  files: readonly ReceivedFile[],
  runId: string,
): Promise<void> {
  if (files.length === 0) return
  await db
    .updateTable('files')
    .set({ run_id: runId, expires_at: null })
    .where('workspace_id', '=', actor.workspaceId)
    .where(
      'id',
      'in',
      files.map(({ id }) => id),
    )
    .execute()
}
