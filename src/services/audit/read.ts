import { sql, type Kysely, type Selectable } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import type { AuditLogsTable } from '../../db/tables/audit.table.ts'
import { AppError } from '../../lib/errors.ts'
import { isUuid } from '../../lib/ids.ts'
import type { Json } from '../../lib/json.ts'
import { readCursor, toPage, type Page, type PageRequest } from '../../lib/pagination.ts'

export type AuditRow = Selectable<AuditLogsTable>

export interface AuditLog {
  id: string
  seq: number
  actor: { kind: AuditRow['actor_kind']; id: string }
  action: string
  target: { type: string; id: string }
  before: Json
  after: Json
  request_id: string | null
  client_address: string | null
  /** The parts that were taken away for the sake of a person. */
  redacted: ('change' | 'address')[]
  hash: string
  created_at: string
}

export interface AuditFilter {
  actor_id?: string | undefined
  action?: string | undefined
  target_type?: string | undefined
  target_id?: string | undefined
  since?: string | undefined
  until?: string | undefined
}

type Context = Pick<ServiceContext, 'db' | 'actor'>

/** How many entries are held at a time by what goes through many. */
const pageSize = 500

export const auditRows = (db: Kysely<Database>, workspaceId: string) =>
  db.selectFrom('audit_logs').selectAll().where('workspace_id', '=', workspaceId)

function filtered({ db, actor }: Context, filter: AuditFilter) {
  const time = (text: string) => sql<Date>`${text}::text::timestamptz`
  let query = auditRows(db, actor.workspaceId)
  if (filter.actor_id !== undefined) query = query.where('actor_id', '=', filter.actor_id)
  if (filter.action !== undefined) query = query.where('action', '=', filter.action)
  if (filter.target_type !== undefined) query = query.where('target_type', '=', filter.target_type)
  if (filter.target_id !== undefined) query = query.where('target_id', '=', filter.target_id)
  if (filter.since !== undefined) query = query.where('created_at', '>=', time(filter.since))
  if (filter.until !== undefined) query = query.where('created_at', '<', time(filter.until))
  return query
}

/** Newest first. The number of an entry stands in the place of a time in the cursor. */
export async function listAuditLogs(ctx: Context, input: AuditFilter & PageRequest): Promise<Page<AuditLog>> {
  const before = readCursor(input.cursor)?.createdAt.getTime()
  let query = filtered(ctx, input)
  if (before !== undefined) query = query.where('seq', '<', before)
  const rows = await query
    .orderBy('seq', 'desc')
    .limit(input.limit + 1)
    .execute()
  const positionOf = (row: AuditRow) => ({ createdAt: new Date(Number(row.seq)), id: row.id })
  return toPage(rows, input.limit, positionOf, toAuditLog)
}

export async function getAuditLog({ db, actor }: Context, id: string): Promise<AuditLog> {
  const row = isUuid(id) ? await auditRows(db, actor.workspaceId).where('id', '=', id).executeTakeFirst() : undefined
  if (!row) throw new AppError('not-found', `The audit log ${id.slice(0, 100)} does not exist.`)
  return toAuditLog(row)
}

/** Everything that the filter lets through, oldest first, a page at a time. */
export async function* eachAuditLog(ctx: Context, filter: AuditFilter): AsyncGenerator<AuditLog[]> {
  let after = 0
  for (;;) {
    const rows = await filtered(ctx, filter).where('seq', '>', after).orderBy('seq').limit(pageSize).execute()
    if (rows.length > 0) yield rows.map(toAuditLog)
    if (rows.length < pageSize) return
    after = Number(rows.at(-1)!.seq)
  }
}

export const toAuditLog = (row: AuditRow): AuditLog => ({
  id: row.id,
  seq: Number(row.seq),
  actor: { kind: row.actor_kind, id: row.actor_id },
  action: row.action,
  target: { type: row.target_type, id: row.target_id },
  before: row.before,
  after: row.after,
  request_id: row.request_id,
  client_address: row.client_address,
  redacted: [
    ...(row.change_nonce === null ? (['change'] as const) : []),
    ...(row.address_nonce === null ? (['address'] as const) : []),
  ],
  hash: row.hash,
  created_at: row.created_at.toISOString(),
})
