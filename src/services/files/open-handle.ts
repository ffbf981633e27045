import { sql } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import { toJsonText } from '../../db/json.ts'
import { AppError, type Fault } from '../../lib/errors.ts'
import { isUuid } from '../../lib/ids.ts'
import { isObject, type Json, type JsonObject } from '../../lib/json.ts'
import { pointerTo } from '../../lib/pointer.ts'
import { handleOf, looksLikeHandle, type FileHandle, type FileRow, type FilesContext } from './file.ts'
import { findFile, readBytes, visibleFiles } from './read-files.ts'

/**
 * The file behind a handle. A handle is data that anybody may have made up: only files of the same workspace are found
 * through it, and what it says besides the id counts for nothing, but that a hash must be the right one.
 */
export async function findHandle(
  ctx: Pick<FilesContext, 'db' | 'actor'>,
  handle: JsonObject & { $file: string },
): Promise<FileRow> {
  const row = await findFile(ctx, handle.$file)
  if (handle['sha256'] !== undefined && handle['sha256'] !== row.sha256)
    throw new AppError('not-found', `The file ${row.id} is not the one that the handle tells of.`)
  return row
}

export async function openHandle(
  ctx: FilesContext,
  handle: JsonObject & { $file: string },
): Promise<{ handle: FileHandle; bytes: Uint8Array }> {
  const row = await findHandle(ctx, handle)
  return { handle: handleOf(row), bytes: await readBytes(ctx, row) }
}

const mostHandles = 1000

/** The input with its handles completed. A handle of a file that the workspace does not have is a fault. */
export async function completeHandles(
  { db, actor }: Pick<ServiceContext, 'db' | 'actor'>,
  input: Json,
  pointer: string,
): Promise<Json> {
  const found = handlesIn(input, pointer)
  if (found.length === 0) return input
  if (found.length > mostHandles)
    throw new AppError('invalid', 'The input has too many files.', {
      errors: [{ pointer, detail: `must not name more than ${mostHandles} files` }],
    })
  const ids = [...new Set(found.map(({ id }) => id).filter(isUuid))].map((id) => id.toLowerCase())
  const rows = await visibleFiles(db, actor.workspaceId)
    .where(sql<boolean>`id in (select value::uuid from jsonb_array_elements_text(${toJsonText(ids)}::text::jsonb))`)
    .execute()
  const known = new Map(rows.map((row) => [row.id, handleOf(row)]))
  const faults: Fault[] = found
    .filter(({ id, sha256 }) => {
      const handle = known.get(id.toLowerCase())
      return !handle || (sha256 !== undefined && sha256 !== handle.sha256)
    })
    .map(({ id, pointer: at }) => ({ pointer: at, detail: `there is no file ${id.slice(0, 100)}` }))
  if (faults.length > 0) throw new AppError('invalid', 'The input names files that do not exist.', { errors: faults })
  return completed(input, known)
}

function handlesIn(value: Json, pointer: string): { id: string; sha256: Json | undefined; pointer: string }[] {
  const found: { id: string; sha256: Json | undefined; pointer: string }[] = []
  const look = (part: Json, at: string): void => {
    if (looksLikeHandle(part)) found.push({ id: part.$file, sha256: part['sha256'], pointer: at })
    else if (Array.isArray(part)) part.forEach((item, index) => look(item, `${at}/${index}`))
    else if (isObject(part)) for (const [name, item] of Object.entries(part)) look(item, pointerTo(at, name))
  }
  look(value, pointer)
  return found
}

function completed(part: Json, known: ReadonlyMap<string, FileHandle>): Json {
  if (looksLikeHandle(part)) return known.get(part.$file.toLowerCase())!
  if (Array.isArray(part)) return part.map((item) => completed(item, known))
  if (!isObject(part)) return part
  return Object.fromEntries(Object.entries(part).map(([name, item]) => [name, completed(item, known)]))
}
