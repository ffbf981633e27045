import { sql, type Kysely, type Selectable } from 'kysely'
import type { Blobs, ServiceContext } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { newestFirst } from '../../db/keyset.ts'
import type { PrivacyExportsTable } from '../../db/tables/audit.table.ts'
import { AppError } from '../../lib/errors.ts'
import { entityTag, requireMatch } from '../../lib/etag.ts'
import { isUuid, uuidv7 } from '../../lib/ids.ts'
import { byCreation, toPage, type Page, type PageRequest } from '../../lib/pagination.ts'
import { recordAudit } from '../audit/record.ts'
import { eraseBlobs } from '../files/sweep.ts'

export type ExportRow = Selectable<PrivacyExportsTable>

/** Of a workspace at a time: each is a copy of all that it has. */
const mostExports = 5

export interface PrivacyExport {
  id: string
  scope: 'workspace' | 'user'
  user_id: string | null
  status: ExportRow['state']
  /** Bytes of the archive so far. */
  size: number | null
  error: string | null
  created_by: string
  created_at: string
  finished_at: string | null
  expires_at: string | null
}

type Context = Pick<ServiceContext, 'db' | 'actor'>

/** Ordered now, made by the tick: what there is when it comes to a table is in it. */
export async function createExport(
  ctx: ServiceContext,
  input: { user_id?: string | undefined },
): Promise<PrivacyExport> {
  const { actor } = ctx
  return ctx.db.transaction().execute(async (tx) => {
    await tx.selectFrom('workspaces').select('id').where('id', '=', actor.workspaceId).forNoKeyUpdate().execute()
    const { count } = await tx
      .selectFrom('privacy_exports')
      .select(({ fn }) => fn.countAll<string>().as('count'))
      .where('workspace_id', '=', actor.workspaceId)
      .executeTakeFirstOrThrow()
    if (Number(count) >= mostExports)
      throw new AppError(
        'conflict',
        `There are ${mostExports} exports already. Delete one, or wait until one ends by itself.`,
      )
    if (input.user_id !== undefined) await requireMember(tx, actor.workspaceId, input.user_id)
    const row = await tx
      .insertInto('privacy_exports')
      .values({
        id: uuidv7(),
        workspace_id: actor.workspaceId,
        user_id: input.user_id ?? null,
        leased_until: null,
        size: null,
        error: null,
        created_by: `${actor.kind}:${actor.id}`,
        finished_at: null,
        expires_at: null,
      })
      .returningAll()
      .executeTakeFirstOrThrow()
    await recordAudit(tx, ctx, {
      action: 'privacy_export.created',
      target: { type: 'privacy_export', id: row.id },
      after: { user_id: row.user_id },
    })
    return toExport(row)
  })
}

async function requireMember(db: Kysely<Database>, workspaceId: string, userId: string): Promise<void> {
  const member = await db
    .selectFrom('memberships')
    .select('user_id')
    .where('workspace_id', '=', workspaceId)
    .where('user_id', '=', userId)
    .executeTakeFirst()
  if (!member) throw new AppError('not-found', `The workspace has no member ${userId}.`)
}

export async function listExports({ db, actor }: Context, page: PageRequest): Promise<Page<PrivacyExport>> {
  const all = db.selectFrom('privacy_exports').selectAll().where('workspace_id', '=', actor.workspaceId)
  return toPage(await newestFirst(all, page).execute(), page.limit, byCreation, toExport)
}

export const getExport = async (ctx: Context, id: string): Promise<PrivacyExport> =>
  toExport(await findRow(ctx, ctx.db, id))

async function findRow(
  { actor }: Pick<Context, 'actor'>,
  db: Kysely<Database>,
  id: string,
  lock = false,
): Promise<ExportRow> {
  const query = db
    .selectFrom('privacy_exports')
    .selectAll()
    .where('workspace_id', '=', actor.workspaceId)
    .where('id', '=', id)
  const row = isUuid(id) ? await (lock ? query.forUpdate() : query).executeTakeFirst() : undefined
  if (!row) throw new AppError('not-found', `The export ${id.slice(0, 100)} does not exist.`)
  return row
}

/** The archive goes with it; the database notes its parts in the same transaction. */
export async function deleteExport(ctx: ServiceContext, id: string, ifMatch: string | null): Promise<void> {
  const row = await ctx.db.transaction().execute(async (tx) => {
    const found = await findRow(ctx, tx, id, true)
    requireMatch(ifMatch, exportTag(toExport(found)))
    await tx
      .deleteFrom('privacy_exports')
      .where('workspace_id', '=', ctx.actor.workspaceId)
      .where('id', '=', found.id)
      .execute()
    await recordAudit(tx, ctx, { action: 'privacy_export.deleted', target: { type: 'privacy_export', id: found.id } })
    return found
  })
  await eraseBlobs(ctx, partsOf(row))
}

/** Part by part, as it is read. */
export async function readArchive(ctx: ServiceContext, id: string): Promise<ReadableStream<Uint8Array>> {
  const row = await findRow(ctx, ctx.db, id)
  if (row.state !== 'ready')
    throw new AppError('conflict', `The export is ${row.state}: there is nothing to download yet.`)
  await recordAudit(ctx.db, ctx, {
    action: 'privacy_export.downloaded',
    target: { type: 'privacy_export', id: row.id },
  })
  return streamParts(ctx.blobs, partsOf(row))
}

function streamParts(blobs: Blobs, keys: readonly string[]): ReadableStream<Uint8Array> {
  let next = 0
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const key = keys[next++]
        if (key === undefined) return controller.close()
        const bytes = await blobs.get(key)
        if (!bytes) throw new Error('A part of the archive is gone.')
        controller.enqueue(bytes)
      },
    },
    { highWaterMark: 0 },
  )
}

/** As the trigger of migration 0026 names them too. */
export const partKey = (row: Pick<ExportRow, 'workspace_id' | 'id'>, part: number): string =>
  `exports/${row.workspace_id}/${row.id}/${String(part).padStart(6, '0')}`

const partsOf = (row: ExportRow): string[] => Array.from({ length: row.parts }, (_, index) => partKey(row, index + 1))

export const toExport = (row: ExportRow): PrivacyExport => ({
  id: row.id,
  scope: row.user_id === null ? 'workspace' : 'user',
  user_id: row.user_id,
  status: row.state,
  size: row.size === null ? null : Number(row.size),
  error: row.error,
  created_by: row.created_by,
  created_at: row.created_at.toISOString(),
  finished_at: row.finished_at?.toISOString() ?? null,
  expires_at: row.expires_at?.toISOString() ?? null,
})

export const exportTag = ({ id, user_id, ...rest }: PrivacyExport): string => entityTag({ id, user_id }, rest)

/** Days that an archive is kept. */
export const keptDays = 7
export const expiry = sql<Date>`app_now() + ${keptDays}::integer * interval '1 day'`
