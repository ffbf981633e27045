import type { Platform } from '../../context.ts'
import { AppError } from '../../lib/errors.ts'
import type { Json } from '../../lib/json.ts'
import { looksLikeHandle, type FileRow } from '../files/file.ts'
import { findHandle } from '../files/open-handle.ts'
import { readBytes } from '../files/read-files.ts'
import type { Attachment, FileReference, ModelMessage, ModelRequest } from '../models/types.ts'
import { StepError, type StepContext } from '../runs/step-executor.ts'
import { ByteGate } from './byte-gate.ts'

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

/** Of all questions that a process asks at a time: what is sent of a file takes several times its bytes. */
const roomOf = (platform: Platform): number => (platform === 'workers' ? 20 : 64) * 1024 * 1024
const gates = new Map<Platform, ByteGate>()

function gateOf(platform: Platform): ByteGate {
  let gate = gates.get(platform)
  if (!gate) gates.set(platform, (gate = new ByteGate(roomOf(platform))))
  return gate
}

/**
 * Asks with the bytes behind the files of a request, by id: of this workspace alone, and no more than a model is given at
 * once. They are read when the process has room for them, and have it until the answer is there.
 */
export async function withOpenFiles<T>(
  { messages }: ModelRequest,
  { ctx }: Pick<StepContext, 'ctx'>,
  signal: AbortSignal,
  ask: (files: ReadonlyMap<string, Attachment>) => Promise<T>,
): Promise<T> {
  const found = new Map<string, FileRow>()
  for (const message of messages)
    for (const file of message.role === 'user' ? (message.files ?? []) : [])
      found.set(file.$file, await findHandle(ctx, { ...file }).catch(asMissing))
  const total = [...found.values()].reduce((sum, { size }) => sum + size, 0)
  if (total > attachmentLimits.bytes)
    throw refused('attachment-too-large', `Attached files may have ${attachmentLimits.bytes} bytes in all.`)
  return gateOf(ctx.platform).hold(ctx.actor.workspaceId, total, signal, async () => {
    const opened = new Map<string, Attachment>()
    for (const [id, row] of found)
      opened.set(id, { name: row.name, mediaType: row.media_type, bytes: await readBytes(ctx, row).catch(asMissing) })
    return ask(opened)
  })
}

function asMissing(error: unknown): never {
  if (!(error instanceof AppError) || error.kind !== 'not-found') throw error
  throw refused('file-not-found', error.detail, error)
}
