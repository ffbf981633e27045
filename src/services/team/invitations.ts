import { sql, type Kysely, type Selectable } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { newestFirst } from '../../db/keyset.ts'
import type { InvitationsTable } from '../../db/tables/team.table.ts'
import { AppError } from '../../lib/errors.ts'
import { entityTag, requireMatch } from '../../lib/etag.ts'
import { toHex } from '../../lib/hex.ts'
import { isUuid, uuidv7 } from '../../lib/ids.ts'
import { byCreation, toPage, type Page, type PageRequest } from '../../lib/pagination.ts'
import { recordAudit } from '../audit/record.ts'
import { hashKey } from '../identity/key-format.ts'
import { requireCurrent } from '../workspaces/current.ts'
import { claimRoom } from '../workspaces/limits.ts'
import { mailInvitation } from './invitation-mail.ts'
import { changeTeam, requireGivable, requireNoStronger } from './standing.ts'

export interface Invitation {
  id: string
  email: string
  role: string
  state: 'pending' | 'accepted' | 'revoked' | 'expired'
  invited_by: string
  expires_at: string
  accepted_at: string | null
  created_at: string
}

/** With what it takes to accept: the token is mailed, or else handed to whoever invites. It is stored as a hash alone. */
export type SentInvitation = Invitation & { delivery: Delivery; token: string | null }
export type Delivery = 'email' | 'token'

type Context = Pick<ServiceContext, 'db' | 'actor'>
type Row = Selectable<InvitationsTable> & { is_expired: boolean }

const prefix = 'ainv_'
/** Enough to find the mail again after a holiday. */
export const defaultDays = 7
const isExpired = sql<boolean>`expires_at <= app_now()`.as('is_expired')
const inDays = (days: number) => sql<Date>`app_now() + ${days}::integer * interval '1 day'`

const invitationsOf = (db: Kysely<Database>, workspaceId: string) =>
  db.selectFrom('invitations').selectAll().select(isExpired).where('workspace_id', '=', workspaceId)

export async function listInvitations(ctx: Context, named: string, page: PageRequest): Promise<Page<Invitation>> {
  requireCurrent(ctx, named)
  const rows = await newestFirst(invitationsOf(ctx.db, ctx.actor.workspaceId), page).execute()
  return toPage(rows, page.limit, byCreation, toInvitation)
}

export async function getInvitation(ctx: Context, named: string, id: string): Promise<Invitation> {
  requireCurrent(ctx, named)
  return toInvitation(await findRow(ctx.db, ctx, id))
}

async function findRow(db: Kysely<Database>, { actor }: Context, id: string): Promise<Row> {
  const row = isUuid(id)
    ? await invitationsOf(db, actor.workspaceId).where('id', '=', id).executeTakeFirst()
    : undefined
  if (!row) throw new AppError('not-found', `The workspace has no invitation ${id.slice(0, 100)}.`)
  return row
}

/** For one address, once, until it ends. It has a seat of the plan until then. */
export async function inviteMember(
  ctx: ServiceContext,
  named: string,
  input: { email: string; role: string; expiresInDays?: number | undefined; delivery?: Delivery | undefined },
): Promise<SentInvitation> {
  const email = input.email.toLowerCase()
  const { token, token_hash } = await newToken(ctx)
  const made = await changeTeam(ctx, named, async (tx, standing) => {
    const { actor } = ctx
    requireGivable(standing, input.role)
    await refuseMember(tx, ctx, email)
    // What has ended makes room for another to the same address.
    await tx
      .updateTable('invitations')
      .set({ revoked_at: sql<Date>`app_now()` })
      .where('workspace_id', '=', actor.workspaceId)
      .where('email', '=', email)
      .where('accepted_at', 'is', null)
      .where('revoked_at', 'is', null)
      .where('expires_at', '<=', sql<Date>`app_now()`)
      .execute()
    await claimRoom(tx, actor.workspaceId, 'members')
    const row = await tx
      .insertInto('invitations')
      .values({
        id: uuidv7(),
        workspace_id: actor.workspaceId,
        email,
        role: input.role,
        token_hash,
        invited_by: `${actor.kind}:${actor.id}`,
        expires_at: inDays(input.expiresInDays ?? defaultDays),
      })
      .onConflict((conflict) => conflict.doNothing())
      .returningAll()
      .returning(isExpired)
      .executeTakeFirst()
    if (!row)
      throw new AppError('conflict', 'That address is invited already. Send the invitation again, or revoke it.')
    await recordAudit(tx, ctx, {
      action: 'invitation.created',
      target: { type: 'invitation', id: row.id },
      after: { email, role: row.role, expires_at: row.expires_at.toISOString() },
    })
    return { invitation: toInvitation(row), name: standing.name }
  })
  return send(ctx, made.invitation, token, made.name, input.delivery)
}

/** With a new token and a new end; the token before is worth nothing from then on. */
export async function resendInvitation(
  ctx: ServiceContext,
  { workspace, invitation: id, delivery }: { workspace: string; invitation: string; delivery?: Delivery | undefined },
): Promise<SentInvitation> {
  const { token, token_hash } = await newToken(ctx)
  const made = await changeTeam(ctx, workspace, async (tx, standing) => {
    const current = await findRow(tx, ctx, id)
    if (current.accepted_at || current.revoked_at) {
      throw new AppError('conflict', 'The invitation was accepted or revoked. Invite anew.')
    }
    requireGivable(standing, current.role)
    await refuseMember(tx, ctx, current.email)
    const row = await tx
      .updateTable('invitations')
      .set({ token_hash, expires_at: inDays(defaultDays), invited_by: `${ctx.actor.kind}:${ctx.actor.id}` })
      .where('workspace_id', '=', ctx.actor.workspaceId)
      .where('id', '=', current.id)
      .returningAll()
      .returning(isExpired)
      .executeTakeFirstOrThrow()
    // One that had ended has a seat again.
    await claimRoom(tx, ctx.actor.workspaceId, 'members', 0)
    await recordAudit(tx, ctx, {
      action: 'invitation.resent',
      target: { type: 'invitation', id: row.id },
      after: { email: row.email, role: row.role, expires_at: row.expires_at.toISOString() },
    })
    return { invitation: toInvitation(row), name: standing.name }
  })
  return send(ctx, made.invitation, token, made.name, delivery)
}

export async function revokeInvitation(
  ctx: ServiceContext,
  { workspace, invitation: id, ifMatch }: { workspace: string; invitation: string; ifMatch: string | null },
): Promise<void> {
  await changeTeam(ctx, workspace, async (tx, standing) => {
    const row = await findRow(tx, ctx, id)
    requireMatch(ifMatch, invitationTag(toInvitation(row)))
    requireNoStronger(standing, standing.permissionsOf(row.role) ?? [], 'The role of the invitation')
    if (row.accepted_at) throw new AppError('conflict', 'The invitation was accepted. Remove the member instead.')
    if (row.revoked_at) return
    await tx
      .updateTable('invitations')
      .set({ revoked_at: sql<Date>`app_now()` })
      .where('workspace_id', '=', ctx.actor.workspaceId)
      .where('id', '=', row.id)
      .execute()
    await recordAudit(tx, ctx, {
      action: 'invitation.revoked',
      target: { type: 'invitation', id: row.id },
      before: { email: row.email, role: row.role },
    })
  })
}

/** Of makers as `invited_by` names them, who are let in no more. The workspace is locked by then. */
export async function revokeInvitationsBy(tx: Kysely<Database>, workspaceId: string, makers: string[]): Promise<void> {
  if (makers.length === 0) return
  await tx
    .updateTable('invitations')
    .set({ revoked_at: sql<Date>`app_now()` })
    .where('workspace_id', '=', workspaceId)
    .where('invited_by', 'in', makers)
    .where('accepted_at', 'is', null)
    .where('revoked_at', 'is', null)
    .execute()
}

async function refuseMember(db: Kysely<Database>, { actor }: Context, email: string): Promise<void> {
  const member = await db
    .selectFrom('memberships as m')
    .innerJoin('users as u', 'u.id', 'm.user_id')
    .select('u.id')
    .where('m.workspace_id', '=', actor.workspaceId)
    .where(sql<boolean>`lower(u.email) = ${email}`)
    .executeTakeFirst()
  if (member) throw new AppError('conflict', 'Somebody with that address is a member already.')
}

async function newToken({ random }: Pick<ServiceContext, 'random'>): Promise<{ token: string; token_hash: string }> {
  const token = prefix + toHex(random(32))
  return { token, token_hash: await hashKey(token) }
}

const send = (
  ctx: ServiceContext,
  invitation: Invitation,
  token: string,
  workspaceName: string,
  wanted: Delivery = 'email',
): SentInvitation => {
  const isMailed = wanted === 'email' && mailInvitation(ctx, invitation, token, workspaceName)
  return { ...invitation, delivery: isMailed ? 'email' : 'token', token: isMailed ? null : token }
}

export const invitationTag = ({ state, ...invitation }: Invitation): string => entityTag(invitation, state)

const toInvitation = (row: Row): Invitation => ({
  id: row.id,
  email: row.email,
  role: row.role,
  state: row.accepted_at ? 'accepted' : row.revoked_at ? 'revoked' : row.is_expired ? 'expired' : 'pending',
  invited_by: row.invited_by,
  expires_at: row.expires_at.toISOString(),
  accepted_at: row.accepted_at?.toISOString() ?? null,
  created_at: row.created_at.toISOString(),
})
