import type { ServiceContext } from '../../context.ts'
import { AppError } from '../../lib/errors.ts'
import { readForm } from '../../lib/multipart.ts'
import { databaseNow } from '../schedules/timing.ts'
import { filesDaysOf } from '../retention/policy.ts'
import type { StoredFile } from './file.ts'
import { fileName, mediaTypeOf } from './names.ts'
import { storeFile } from './store-file.ts'

export interface Upload {
  bytes: Uint8Array
  contentType: string | null
  name?: string | undefined
  expiresAt?: string | undefined
  idempotencyKey?: string | undefined
}

/** A file as it is, or the one file of a form. */
export async function uploadFile(
  ctx: ServiceContext,
  upload: Upload,
): Promise<{ file: StoredFile; replayed: boolean }> {
  const content = contentOf(upload)
  const most = ctx.config.fileMaxBytes
  if (content.bytes.byteLength > most) throw new AppError('too-large', `A file may have ${most} bytes at most.`)
  const expiresAt = upload.expiresAt === undefined ? null : new Date(upload.expiresAt)
  if (expiresAt !== null && expiresAt <= (await databaseNow(ctx.db))) {
    const errors = [{ pointer: '/query/expires_at', detail: 'must be later than now' }]
    throw new AppError('invalid', 'The file would be over already.', { errors })
  }
  const days = expiresAt === null ? await filesDaysOf(ctx) : 0
  return storeFile(ctx, {
    name: fileName(upload.name ?? content.name),
    mediaType: mediaTypeOf(content.mediaType),
    bytes: content.bytes,
    source: 'upload',
    expiresAt,
    ...(days > 0 && { expiresInDays: days }),
    ...(upload.idempotencyKey !== undefined && { idempotencyKey: upload.idempotencyKey }),
  })
}

function contentOf({ bytes, contentType }: Upload) {
  if (!/^multipart\/form-data\s*(;|$)/i.test(contentType ?? '')) return { bytes, mediaType: contentType, name: null }
  const parts = readForm(bytes, contentType!)
  if (!parts) throw new AppError('malformed', 'The body is no multipart/form-data that can be read.')
  const files = parts.flatMap(({ content }) => (typeof content === 'string' ? [] : [content]))
  const [file] = files
  if (!file || parts.length > 1) {
    const detail = `must have one part, which is a file; it has ${parts.length}, of which ${files.length} are files`
    throw new AppError('invalid', `The form ${detail}.`, { errors: [{ pointer: '', detail }] })
  }
  return { bytes: file.bytes, mediaType: file.mediaType, name: file.fileName }
}
