import { AppError } from '../../lib/errors.ts'
import type { Json } from '../../lib/json.ts'
import { looksLikeHandle } from '../files/file.ts'
import { openHandle } from '../files/open-handle.ts'
import type { Attachment, FileReference, ModelMessage, ModelRequest } from '../models/types.ts'
import { StepError, type StepContext } from '../runs/step-executor.ts'

/** Of one question. All of it is in memory at a time, once more as base64, and providers take little more. */
export const attachmentLimits = { files: 20, bytes: 10 * 1024 * 1024 } as const

const refused = (kind: string, detail: string, cause?: unknown) =>
  new StepError(kind, detail, { retryable: false, ...(cause !== undefined && { cause }) })

/** The question with the files that `attachments` comes to: handles, or lists of them. Null is none; a file named twice counts once. */
export function withFiles(text: string, attachments: Json | undefined, context: StepContext): ModelMessage {
  if (attachments === undefined) return { role: 'user', text }
  const files = new Map<string, FileReference>()
  for (const value of [context.render(attachments)].flat(4)) {
    if (value === null) continue
    if (!looksLikeHandle(value)) throw refused('attachment-invalid', 'Only files can be attached: {"$file": …}.')
    const { $file, sha256 } = value
    files.set($file, { $file, ...(typeof sha256 === 'string' && { sha256 }) })
  }
  if (files.size > attachmentLimits.files)
    throw refused('attachment-too-large', `At most ${attachmentLimits.files} files can be attached, not ${files.size}.`)
  return { role: 'user', text, ...(files.size > 0 && { files: [...files.values()] }) }
}

/** The bytes behind the files of a request, by id: of this workspace alone, and no more than a model is given at once. */
export async function openFiles({ messages }: ModelRequest, { ctx }: StepContext): Promise<Map<string, Attachment>> {
  const opened = new Map<string, Attachment>()
  let total = 0
  for (const message of messages) {
    for (const file of message.role === 'user' ? (message.files ?? []) : []) {
      const { handle, bytes } = await openHandle(ctx, { ...file }).catch((error: unknown) => {
        if (!(error instanceof AppError) || error.kind !== 'not-found') throw error
        throw refused('file-not-found', error.detail, error)
      })
      total += bytes.byteLength
      if (total > attachmentLimits.bytes)
        throw refused('attachment-too-large', `Attached files may have ${attachmentLimits.bytes} bytes in all.`)
      opened.set(file.$file, { name: handle.name, mediaType: handle.media_type, bytes })
    }
  }
  return opened
}
