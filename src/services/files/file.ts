import type { Selectable } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { FilesTable } from '../../db/tables/files.table.ts'
import { AppError } from '../../lib/errors.ts'
import { entityTag } from '../../lib/etag.ts'
import { isObject, type Json, type JsonObject } from '../../lib/json.ts'

export type FileRow = Selectable<FilesTable>

/** A binary value in inputs, outputs and bodies: the file itself stays where it is. */
export interface FileHandle extends JsonObject {
  $file: string
  name: string
  media_type: string
  size: number
  sha256: string
}

export interface StoredFile {
  id: string
  name: string
  media_type: string
  size: number
  sha256: string
  source: FileRow['source']
  execution_id: string | null
  created_at: string
  expires_at: string | null
  handle: FileHandle
}

export const fileKey = (workspaceId: string, id: string): string => `files/${workspaceId}/${id}`

export const handleOf = (file: Pick<FileRow, 'id' | 'name' | 'media_type' | 'size' | 'sha256'>): FileHandle => ({
  $file: file.id,
  name: file.name,
  media_type: file.media_type,
  size: file.size,
  sha256: file.sha256,
})

/** Says that it is meant as a handle, not that there is such a file. */
export const looksLikeHandle = (value: Json | undefined): value is JsonObject & { $file: string } =>
  isObject(value) && typeof value['$file'] === 'string'

export const toFile = (row: FileRow): StoredFile => ({
  id: row.id,
  name: row.name,
  media_type: row.media_type,
  size: row.size,
  sha256: row.sha256,
  source: row.source,
  execution_id: row.run_id,
  created_at: row.created_at.toISOString(),
  expires_at: row.expires_at?.toISOString() ?? null,
  handle: handleOf(row),
})

export const fileTag = ({ execution_id, expires_at, ...file }: StoredFile): string =>
  entityTag(file, { execution_id, expires_at })

export const fileNotFound = (id: string) => new AppError('not-found', `The file ${id.slice(0, 100)} does not exist.`)

export type FilesContext = Pick<ServiceContext, 'db' | 'blobs' | 'actor'>
