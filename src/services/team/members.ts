import { sql, type Kysely, type Transaction } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { newestFirst } from '../../db/keyset.ts'
import { acrossWorkspaces } from '../../db/scope.ts'
import { AppError } from '../../lib/errors.ts'
import { entityTag, requireMatch } from '../../lib/etag.ts'
import { isUuid } from '../../lib/ids.ts'
import { byCreation, toPage, type Page, type PageRequest } from '../../lib/pagination.ts'
import { recordAudit } from '../audit/record.ts'
import { callerCacheOf } from '../identity/caller-cache.ts'
import { byInvitation } from '../identity/invited-issuer.ts'
import { requireCurrent } from '../workspaces/current.ts'
import { changeTeam, requireGivable, requireNoStronger, type LockedStanding } from './standing.ts'

export interface TeamMember {
  user_id: string
  email: string | null
  name: string | null
  role: string
  /** How the member signs in: with a token of an identity provider, or with a key of their own. */
  signs_in_with: 'token' | 'key'
  joined_at: string
}

type Context = Pick<ServiceContext, 'db' | 'actor'>

interface MemberRow {
  id: string
  email: string | null
  name: string | null
  role: string
  issuer: string
  created_at: Date
}

const membersOf = (db: Kysely<Database>, workspaceId: string) =>
  db
    .selectFrom((inner) =>
      inner
        .selectFrom('memberships as m')
        .innerJoin('users as u', 'u.id', 'm.user_id')
        .where('m.workspace_id', '=', workspaceId)
        .select(['u.id', 'u.email', 'u.name', 'u.issuer', 'm.role', 'm.created_at'])
        .as('members'),
    )
    .selectAll()

export async function listMembers(ctx: Context, named: string, page: PageRequest): Promise<Page<TeamMember>> {
  requireCurrent(ctx, named)
  const rows = await newestFirst(membersOf(ctx.db, ctx.actor.workspaceId), page).execute()
  return toPage(rows, page.limit, byCreation, toMember)
}

export async function getMember(ctx: Context, named: string, id: string): Promise<TeamMember> {
  requireCurrent(ctx, named)
  return findMember(ctx.db, ctx, id)
}

async function findMember(db: Kysely<Database>, { actor }: Context, id: string): Promise<TeamMember> {
  const row = isUuid(id)
    ? await membersOf(db, actor.workspaceId).where('id', '=', id.toLowerCase()).executeTakeFirst()
    : undefined
  if (!row) throw new AppError('not-found', `The workspace has no member ${id.slice(0, 100)}.`)
  return toMember(row)
}

/** Nobody gives a role that holds more than they do, and nobody changes a member who does. */
export async function changeMemberRole(
  ctx: ServiceContext,
  { workspace, member: id, role, ifMatch }: { workspace: string; member: string; role: string; ifMatch: string | null },
): Promise<TeamMember> {
  const member = await changeTeam(ctx, workspace, async (tx, standing) => {
    const current = await findMember(tx, ctx, id)
    requireMatch(ifMatch, memberTag(current))
    requireReachable(standing, current)
    requireGivable(standing, role)
    if (role === current.role) return current
    if (current.role === 'owner') await requireOtherOwner(tx, ctx, current.user_id)
    await setRole(tx, ctx, current.user_id, role)
    await revokeInvitationsOf(tx, ctx, current.user_id)
    await recordAudit(tx, ctx, {
      action: 'member.role_changed',
      target: { type: 'member', id: current.user_id },
      before: { role: current.role },
      after: { role },
    })
    return { ...current, role }
  })
  callerCacheOf(ctx).forget(member.user_id)
  return member
}

export async function removeMember(
  ctx: ServiceContext,
  { workspace, member: id, ifMatch }: { workspace: string; member: string; ifMatch: string | null },
): Promise<void> {
  const member = await changeTeam(ctx, workspace, async (tx, standing) => {
    const current = await findMember(tx, ctx, id)
    requireMatch(ifMatch, memberTag(current))
    requireReachable(standing, current)
    await endMembership(tx, ctx, current, 'member.removed')
    return current
  })
  callerCacheOf(ctx).forget(member.user_id)
}

export async function leaveTeam(ctx: ServiceContext, workspace: string): Promise<void> {
  requireUser(ctx, 'leave')
  await changeTeam(
    ctx,
    workspace,
    async (tx) => {
      await endMembership(tx, ctx, await findMember(tx, ctx, ctx.actor.id), 'member.left')
    },
    null,
  )
  callerCacheOf(ctx).forget(ctx.actor.id)
}

/** The member becomes an owner, and the owner who asks an administrator. */
export async function transferOwnership(
  ctx: ServiceContext,
  { workspace, member: id }: { workspace: string; member: string },
): Promise<TeamMember> {
  requireUser(ctx, 'hand a workspace over')
  const heir = await changeTeam(
    ctx,
    workspace,
    async (tx) => {
      const self = await findMember(tx, ctx, ctx.actor.id)
      if (self.role !== 'owner') throw new AppError('forbidden', 'Only an owner can hand a workspace over.')
      const member = await findMember(tx, ctx, id)
      if (member.user_id === self.user_id) throw new AppError('conflict', 'You own the workspace already.')
      await setRole(tx, ctx, member.user_id, 'owner')
      await setRole(tx, ctx, self.user_id, 'admin')
      await recordAudit(tx, ctx, {
        action: 'workspace.ownership_transferred',
        target: { type: 'workspace', id: ctx.actor.workspaceId },
        before: { owner: self.user_id, role: member.role },
        after: { owner: member.user_id },
      })
      return { ...member, role: 'owner' }
    },
    'workspaces:manage',
  )
  for (const each of [heir.user_id, ctx.actor.id]) callerCacheOf(ctx).forget(each)
  return heir
}

function requireUser({ actor }: Context, verb: string): void {
  if (actor.kind !== 'user') throw new AppError('forbidden', `An API key is no member and cannot ${verb}.`)
}

const requireReachable = (standing: LockedStanding, { role }: TeamMember) =>
  requireNoStronger(standing, standing.permissionsOf(role) ?? [], 'The member')

/** Whoever is counted here cannot go before this commits. */
async function requireOtherOwner(tx: Transaction<Database>, { actor }: Context, id: string): Promise<void> {
  const other = await tx
    .selectFrom('memberships')
    .select('user_id')
    .where('workspace_id', '=', actor.workspaceId)
    .where('role', '=', 'owner')
    .where('user_id', '!=', id)
    .limit(1)
    .executeTakeFirst()
  if (!other) throw new AppError('conflict', 'A workspace keeps an owner. Make somebody else one first.')
}

const setRole = (tx: Transaction<Database>, { actor }: Context, id: string, role: string) =>
  tx
    .updateTable('memberships')
    .set({ role })
    .where('workspace_id', '=', actor.workspaceId)
    .where('user_id', '=', id)
    .execute()

/** Keys that the member made belong to the workspace and stay; the member's own is revoked, or goes with its person. */
async function endMembership(
  tx: Transaction<Database>,
  ctx: ServiceContext,
  { user_id: id, role }: TeamMember,
  action: string,
): Promise<void> {
  if (role === 'owner') await requireOtherOwner(tx, ctx, id)
  const { workspaceId } = ctx.actor
  await tx.deleteFrom('memberships').where('workspace_id', '=', workspaceId).where('user_id', '=', id).execute()
  await tx
    .updateTable('api_keys')
    .set({ revoked_at: sql<Date>`coalesce(revoked_at, app_now())` })
    .where('workspace_id', '=', workspaceId)
    .where('user_id', '=', id)
    .execute()
  // A person whom an invitation made is known nowhere else.
  await acrossWorkspaces(tx, (all) =>
    all
      .deleteFrom('users')
      .where('id', '=', id)
      .where('issuer', '=', byInvitation)
      .where(sql<boolean>`not exists (select from memberships m where m.user_id = users.id)`)
      .execute(),
  )
  await revokeInvitationsOf(tx, ctx, id)
  await recordAudit(tx, ctx, { action, target: { type: 'member', id }, before: { role } })
}

/** An invitation gives what its maker could give. Whoever cannot any more has invited nobody. */
const revokeInvitationsOf = (tx: Transaction<Database>, { actor }: Context, id: string) =>
  tx
    .updateTable('invitations')
    .set({ revoked_at: sql<Date>`app_now()` })
    .where('workspace_id', '=', actor.workspaceId)
    .where('invited_by', '=', `user:${id}`)
    .where('accepted_at', 'is', null)
    .where('revoked_at', 'is', null)
    .execute()

export const memberTag = ({ user_id, role, ...rest }: TeamMember): string => entityTag({ user_id, role }, rest)

const toMember = ({ id, email, name, role, issuer, created_at }: MemberRow): TeamMember => ({
  user_id: id,
  email,
  name,
  role,
  signs_in_with: issuer === byInvitation ? 'key' : 'token',
  joined_at: created_at.toISOString(),
})
