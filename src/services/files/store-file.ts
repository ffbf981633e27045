import { sql, type Kysely } from 'kysely'
import type { Database } from '../../db/database.ts'
import { canonicalJson, sha256Hex } from '../../lib/canonical.ts'
import { AppError } from '../../lib/errors.ts'
import { uuidv7 } from '../../lib/ids.ts'
import { keyReused } from '../idempotency/answer-once.ts'
import { claimRoom } from '../workspaces/limits.ts'
import { fileKey, toFile, type FileRow, type FilesContext, type StoredFile } from './file.ts'

export interface NewFile {
  /** Where it must be known before the file is stored. */
  id?: string
  name: string
  mediaType: string
  bytes: Uint8Array
  source: FileRow['source']
  /** It goes with this run. Of a run that is none, such as a step tried by itself, it stays for a day. */
  runId?: string
  expiresAt?: Date | null
  /** From now on by the database's clock, where `expiresAt` is not given. */
  expiresInDays?: number
  idempotencyKey?: string
}

/** A row that stays without its bytes so long is of a process that died. No put takes an hour. */
export const unstoredHours = 1

/**
 * The row first, then the bytes, then the word that they are there: a crash between any two leaves a row that the tick finds,
 * and never bytes that nobody knows of. The same key with the same file goes on where the first request stopped.
 */
export async function storeFile(ctx: FilesContext, file: NewFile): Promise<{ file: StoredFile; replayed: boolean }> {
  const sha256 = sha256Hex(file.bytes)
  const requestHash = sha256Hex(
    canonicalJson([file.name, file.mediaType, sha256, file.expiresAt?.toISOString() ?? null]),
  )
  const made = await insertRow(ctx, file, sha256, requestHash)
  const row = made ?? (await findByKey(ctx.db, ctx.actor.workspaceId, file.idempotencyKey!, requestHash))
  if (row.stored) return { file: toFile(row), replayed: true }
  const key = fileKey(row.workspace_id, row.id)
  await ctx.blobs.put(key, file.bytes, { mediaType: row.media_type })
  const stored = await ctx.db
    .updateTable('files')
    .set({ stored: true })
    .where('workspace_id', '=', row.workspace_id)
    .where('id', '=', row.id)
    .returningAll()
    .executeTakeFirst()
  if (!stored) {
    // The row was given up, or deleted with its workspace: the bytes came too late to be found by that.
    await sql`insert into doomed_blobs (key) values (${key}) on conflict (key) do update set due_at = app_now()`.execute(
      ctx.db,
    )
    throw new AppError('unavailable', 'The file took too long to be stored. Send it again.')
  }
  return { file: toFile(stored), replayed: made === null }
}

function insertRow(ctx: FilesContext, file: NewFile, sha256: string, requestHash: string): Promise<FileRow | null> {
  return ctx.db.transaction().execute(async (tx) => {
    const row = await insertNew({ ...ctx, db: tx }, file, sha256, requestHash)
    // Asked behind the insert: the repetition of one that was stored takes no room.
    if (row) {
      if (file.source === 'upload') await claimRoom(tx, ctx.actor.workspaceId, 'documents', 0)
      await claimRoom(tx, ctx.actor.workspaceId, 'storage_bytes', 0)
    }
    return row
  })
}

async function insertNew(
  { db, actor }: FilesContext,
  file: NewFile,
  sha256: string,
  requestHash: string,
): Promise<FileRow | null> {
  const runId = file.runId ?? null
  const inDays = (days: number) => sql`app_now() + ${days}::integer * interval '1 day'`
  const expiry = file.expiresAt
    ? sql`${file.expiresAt.toISOString()}::text::timestamptz`
    : file.expiresInDays === undefined
      ? sql`null::timestamptz`
      : inDays(file.expiresInDays)
  const { rows } = await sql<{ id: string }>`
    insert into files (id, workspace_id, run_id, name, media_type, size, sha256, source, idempotency_key, request_hash,
      created_by, expires_at)
    select ${file.id ?? uuidv7()}::text::uuid, ${actor.workspaceId}::text::uuid, r.id, ${file.name}::text,
      ${file.mediaType}::text, ${file.bytes.byteLength}::integer, ${sha256}::text, ${file.source}::text,
      ${file.idempotencyKey ?? null}::text, ${requestHash}::text, ${actor.kind === 'system' ? null : actor.id}::text,
      case when ${runId}::text is null or r.id is not null then ${expiry} else ${inDays(1)} end
    from (select 1) as one left join runs r
      on r.id = ${runId}::text::uuid and r.workspace_id = ${actor.workspaceId}::text::uuid
    on conflict (workspace_id, idempotency_key) where idempotency_key is not null do nothing
    returning id`.execute(db)
  const id = rows[0]?.id
  if (id === undefined) return null
  return db.selectFrom('files').selectAll().where('id', '=', id).executeTakeFirstOrThrow()
}

async function findByKey(
  db: Kysely<Database>,
  workspaceId: string,
  key: string,
  requestHash: string,
): Promise<FileRow> {
  const row = await db
    .selectFrom('files')
    .selectAll()
    .where('workspace_id', '=', workspaceId)
    .where('idempotency_key', '=', key)
    .executeTakeFirst()
  if (!row) throw new AppError('unavailable', 'The file of this Idempotency-Key was just deleted. Send it again.')
  if (row.request_hash !== requestHash) throw keyReused()
  return row
}
