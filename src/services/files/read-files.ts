import { sql, type Kysely } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { newestFirst } from '../../db/keyset.ts'
import { AppError } from '../../lib/errors.ts'
import { isUuid } from '../../lib/ids.ts'
import { byCreation, toPage, type Page, type PageRequest } from '../../lib/pagination.ts'
import { fileKey, fileNotFound, toFile, type FileRow, type FilesContext, type StoredFile } from './file.ts'

type Context = Pick<ServiceContext, 'db' | 'actor'>

/** What callers see: whole, and not over. */
export const visibleFiles = (db: Kysely<Database>, workspaceId: string) =>
  db
    .selectFrom('files')
    .selectAll()
    .where('workspace_id', '=', workspaceId)
    .where('stored', '=', true)
    .where(sql<boolean>`(expires_at is null or expires_at > app_now())`)

export async function findFile({ db, actor }: Context, id: string): Promise<FileRow> {
  const row = isUuid(id) ? await visibleFiles(db, actor.workspaceId).where('id', '=', id).executeTakeFirst() : undefined
  if (!row) throw fileNotFound(id)
  return row
}

export const getFile = async (ctx: Context, id: string): Promise<StoredFile> => toFile(await findFile(ctx, id))

export async function listFiles(
  { db, actor }: Context,
  {
    execution,
    source,
    ...page
  }: PageRequest & { execution?: string | undefined; source?: FileRow['source'] | undefined },
): Promise<Page<StoredFile>> {
  let query = visibleFiles(db, actor.workspaceId)
  if (execution !== undefined) query = query.where('run_id', '=', execution)
  if (source !== undefined) query = query.where('source', '=', source)
  return toPage(await newestFirst(query, page).execute(), page.limit, byCreation, toFile)
}

export async function readBytes({ blobs }: Pick<FilesContext, 'blobs'>, row: FileRow): Promise<Uint8Array> {
  const bytes = await blobs.get(fileKey(row.workspace_id, row.id))
  if (!bytes) throw new AppError('not-found', `The bytes of the file ${row.id} are gone.`)
  return bytes
}

export async function readContent(ctx: FilesContext, id: string): Promise<{ file: StoredFile; bytes: Uint8Array }> {
  const row = await findFile(ctx, id)
  return { file: toFile(row), bytes: await readBytes(ctx, row) }
}
