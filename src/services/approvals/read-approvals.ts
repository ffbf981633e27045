import { sql } from 'kysely'
import type { Actor, ServiceContext } from '../../context.ts'
import { AppError } from '../../lib/errors.ts'
import { isUuid } from '../../lib/ids.ts'
import { byCreation, readCursor, toPage, type Page, type PageRequest } from '../../lib/pagination.ts'
import { shownApprovals, toApproval, type Approval, type ApprovalRow, type ApprovalState } from './approval.ts'

/** Whoever acts in the workspace; a link does so without an account. */
export type Reader = Pick<ServiceContext, 'db'> & { actor: Pick<Actor, 'workspaceId'> }

export async function listApprovals(
  { db, actor }: Reader,
  page: PageRequest & { status?: ApprovalState | undefined; execution?: string | undefined },
): Promise<Page<Approval>> {
  const after = readCursor(page.cursor)
  const conditions = [
    sql`a.workspace_id = ${actor.workspaceId}`,
    ...(page.execution === undefined ? [] : [sql`a.run_id = ${page.execution}`]),
    ...(page.status === undefined ? [] : [sql`s.shown_state = ${page.status}`]),
    // What is shown as pending is stored as pending: the small index of those serves the inbox.
    ...(page.status === 'pending' ? [sql`a.state = 'pending'`] : []),
    ...(after === null
      ? []
      : [sql`(a.created_at, a.id) < (${after.createdAt.toISOString()}::text::timestamptz, ${after.id}::text::uuid)`]),
  ]
  const { rows } = await sql<ApprovalRow>`${shownApprovals(sql.join(conditions, sql` and `))}
    order by a.created_at desc, a.id desc limit ${page.limit + 1}`.execute(db)
  return toPage(rows, page.limit, byCreation, toApproval)
}

/** An approval of the workspace; a foreign one answers as a missing one does. */
export async function getApproval({ db, actor }: Reader, id: string): Promise<Approval> {
  if (!isUuid(id)) throw approvalNotFound(id)
  const { rows } = await shownApprovals(sql`a.workspace_id = ${actor.workspaceId} and a.id = ${id}`).execute(db)
  if (!rows[0]) throw approvalNotFound(id)
  return toApproval(rows[0])
}

export const approvalNotFound = (id: string) =>
  new AppError('not-found', `Approval ${id.slice(0, 100)} does not exist.`)
