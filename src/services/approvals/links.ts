import { sql } from 'kysely'
import type { Runtime, ServiceContext } from '../../context.ts'
import { jsonb } from '../../db/json.ts'
import { scopedTo } from '../../db/scope.ts'
import { parseDuration } from '../../lib/duration.ts'
import { AppError } from '../../lib/errors.ts'
import { isUuid, uuidv7 } from '../../lib/ids.ts'
import { recordAudit } from '../audit/record.ts'
import { verifyMaker } from '../identity/verify-maker.ts'
import { openToken, signToken } from '../signing/tokens.ts'
import type { Approval } from './approval.ts'
import { decideApproval, type Decision } from './decide.ts'
import { getApproval } from './read-approvals.ts'

const purpose = 'approval-link'
const longestLifeMs = 30 * 86_400_000
const defaultLife = '7d'
/** Of one approval, at a time. */
const mostLinks = 20

export interface ApprovalLink {
  url: string
  issued_to: string | null
  expires_at: string
}

/**
 * A signed address that shows one approval and decides it, once, without an account. It ends with its time, with the
 * decision, and with whoever made it: a key that is revoked, a member who has left.
 */
export async function createApprovalLink(
  ctx: ServiceContext,
  id: string,
  { issuedTo, life = defaultLife }: { issuedTo?: string | undefined; life?: string | undefined },
): Promise<ApprovalLink> {
  const approval = await getApproval(ctx, id)
  if (approval.status !== 'pending')
    throw new AppError('conflict', `Approval ${id} is ${approval.status}: there is nothing to decide.`)
  if (ctx.actor.kind === 'system') throw new Error('Only who has signed in makes links.')
  const lifeMs = parseDuration(life)
  if (lifeMs === null || lifeMs <= 0 || lifeMs > longestLifeMs) {
    const detail = 'must be a duration such as 30m, 8h or 7d, at most 30d'
    throw new AppError('invalid', `expires_in ${detail}.`, { errors: [{ pointer: '/expires_in', detail }] })
  }
  const link = uuidv7(ctx.clock.now().getTime())
  const maker = jsonb({ kind: ctx.actor.kind, id: ctx.actor.id })
  const { rows } = await ctx.db.transaction().execute(async (tx) => {
    // One at a time, so that each counts those before it.
    await sql`select from approvals where id = ${id} for no key update`.execute(tx)
    const made = await sql<{ expires_at: Date }>`
      insert into approval_links (id, approval_id, workspace_id, issued_to, maker, expires_at)
      select ${link}::uuid, id, workspace_id, ${issuedTo ?? null}, ${maker},
        least(app_now() + ${lifeMs}::double precision * interval '1 millisecond', expires_at)
      from approvals a where id = ${id} and workspace_id = ${ctx.actor.workspaceId} and (
        select count(*) from approval_links l where l.approval_id = a.id and l.expires_at > app_now()) < ${mostLinks}
      returning expires_at`.execute(tx)
    const after = { link, expires_at: made.rows[0]?.expires_at }
    if (made.rows[0])
      await recordAudit(tx, ctx, { action: 'approval.link_created', target: { type: 'approval', id }, after })
    return made
  })
  if (!rows[0])
    throw new AppError('conflict', `Approval ${id} has ${mostLinks} links that are still good, which is the most.`)
  // The row says when it ends, which may be sooner.
  const token = await signToken(ctx, purpose, link, lifeMs / 1000, id)
  return {
    url: `${ctx.config.apiUrl.replace(/\/$/, '')}/api/approvals/${id}/page?token=${encodeURIComponent(token)}`,
    issued_to: issuedTo ?? null,
    expires_at: rows[0].expires_at.toISOString(),
  }
}

interface Opened {
  link: string
  workspaceId: string
  issuedTo: string | null
  approval: Approval
}

/** What a link shows. Throws `not-found` for whatever is no link of ours, or not one any more. */
export async function openApprovalLink(runtime: Runtime, approvalId: string, token: string): Promise<Opened> {
  const link = isUuid(approvalId) ? await openToken(runtime, purpose, token, approvalId) : null
  if (typeof link !== 'string') throw noLink()
  const row = await runtime.db
    .selectFrom('approval_links')
    .select(['workspace_id', 'issued_to', 'maker', 'created_at'])
    .where('id', '=', link)
    .where('approval_id', '=', approvalId)
    .where('expires_at', '>', sql<Date>`app_now()`)
    .executeTakeFirst()
  if (!row || !(await mayStillDecide(runtime, row))) throw noLink()
  const workspaceId = row.workspace_id
  const approval = await getApproval({ db: scopedTo(runtime.db, workspaceId), actor: { workspaceId } }, approvalId)
  return { link, workspaceId, issuedTo: row.issued_to, approval }
}

/** Decides as the link that was opened. */
export async function decideByLink(runtime: Runtime, opened: Opened, decision: Decision): Promise<Approval> {
  const { link, workspaceId, issuedTo, approval } = opened
  const by = { kind: 'link', id: link, ...(issuedTo !== null && { name: issuedTo }) }
  const db = scopedTo(runtime.db, workspaceId)
  return decideApproval({ db, wake: runtime.wake, actor: { workspaceId } }, approval.id, decision, by)
}

async function mayStillDecide(
  runtime: Runtime,
  row: { workspace_id: string; maker: { [name: string]: unknown }; created_at: Date },
): Promise<boolean> {
  const { kind, id } = row.maker
  try {
    const maker = await verifyMaker(runtime, {
      kind: kind === 'user' ? 'user' : 'key',
      id: String(id),
      workspaceId: row.workspace_id,
      madeAt: row.created_at,
    })
    return maker.actor.permissions.has('approvals:decide')
  } catch (error) {
    if (error instanceof AppError && error.kind === 'unauthenticated') return false
    throw error
  }
}

const noLink = () =>
  new AppError('not-found', 'This link is not valid: it has expired, was withdrawn or is incomplete.')
