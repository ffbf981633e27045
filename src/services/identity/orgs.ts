import { sql } from 'kysely'
import type { Runtime } from '../../context.ts'
import { recordAudit } from '../audit/record.ts'
import { claimRoom } from '../workspaces/limits.ts'
import { insertWorkspace } from './insert-workspace.ts'
import type { OrgClaim, TokenClaims } from './verify-token.ts'

export type OrgClaims = TokenClaims & { org: OrgClaim }
export const hasOrg = (claims: TokenClaims): claims is OrgClaims => claims.org !== undefined

export interface OrgWorkspace {
  id: string
  slug: string
}

/** The workspace of the organization in which a token acts. */
export const findOrgWorkspace = (
  { db }: Pick<Runtime, 'db'>,
  { issuer, org }: OrgClaims,
): Promise<OrgWorkspace | undefined> =>
  db
    .selectFrom('org_workspaces as o')
    .innerJoin('workspaces as w', 'w.id', 'o.workspace_id')
    .select(['w.id', 'w.slug'])
    .where('o.issuer', '=', issuer)
    .where('o.org_id', '=', org.id)
    .executeTakeFirst()

/**
 * Lets a user into the workspace of the organization, which the first one makes. The organization gives the role once: what the
 * team changes later stays, and whoever it has removed does not come in again this way.
 */
export async function enterOrg(runtime: Runtime, userId: string, claims: OrgClaims): Promise<void> {
  const { issuer, org } = claims
  await runtime.db
    .transaction()
    .execute(async (tx) => {
      // Of any number of first requests one makes the workspace; the others wait and find it.
      await sql`select pg_advisory_xact_lock(hashtextextended(${`${issuer} ${org.id}`}::text, 23))`.execute(tx)
      const known = await tx
        .selectFrom('org_workspaces as o')
        .innerJoin('workspaces as w', 'w.id', 'o.workspace_id')
        .select(['o.workspace_id', 'role_map'])
        .where('issuer', '=', issuer)
        .where('org_id', '=', org.id)
        .where('w.deleted_at', 'is', null)
        .executeTakeFirst()
      const workspaceId =
        known?.workspace_id ?? (await insertWorkspace({ db: tx, random: runtime.random }, nameOf(org)))
      if (!known) {
        const made = await tx
          .insertInto('org_workspaces')
          .values({ issuer, org_id: org.id, workspace_id: workspaceId })
          .onConflict((conflict) => conflict.columns(['issuer', 'org_id']).doNothing())
          .returning('workspace_id')
          .executeTakeFirst()
        // The organization's workspace is on its way out. Another one can be made once it is gone.
        if (!made) throw new Deleted()
      }
      const entered = await tx
        .insertInto('org_members')
        .values({ workspace_id: workspaceId, user_id: userId })
        .onConflict((conflict) => conflict.columns(['workspace_id', 'user_id']).doNothing())
        .returning('user_id')
        .executeTakeFirst()
      if (!entered) return
      const { rows } = await sql<{ owned: boolean; member: boolean }>`
      select coalesce(bool_or(role = 'owner'), false) as owned, coalesce(bool_or(user_id = ${userId}), false) as member
      from memberships where workspace_id = ${workspaceId}`.execute(tx)
      const { owned, member } = rows[0]!
      if (member) return
      await claimRoom(tx, workspaceId, 'members')
      const mapped = mappedRole(org.role, known?.role_map ?? {})
      // Somebody has to be able to manage what the organization has made: its first admin.
      const role = mapped === 'admin' && !owned ? 'owner' : mapped
      await tx.insertInto('memberships').values({ workspace_id: workspaceId, user_id: userId, role }).execute()
      const actor = { kind: 'user' as const, id: userId, workspaceId, permissions: new Set<never>() }
      await recordAudit(
        tx,
        { actor },
        {
          action: 'member.joined',
          target: { type: 'user', id: userId },
          after: { role, organization: org.id },
        },
      )
    })
    .catch((error: unknown) => {
      if (!(error instanceof Deleted)) throw error
    })
}

class Deleted extends Error {}

const nameOf = ({ id, slug }: OrgClaim) => ({ name: slug ?? id, slugFrom: slug ?? id, fallback: 'organization' })

/** Clerk's own roles, in both versions of its tokens. */
export const providerRoles: ReadonlyMap<string, string> = new Map([
  ['admin', 'admin'],
  ['member', 'editor'],
  ['basic_member', 'editor'],
])

/** The role here of somebody with a role there. */
export const mappedRole = (role: string, map: Readonly<Record<string, string>>): string =>
  (Object.hasOwn(map, role) ? map[role] : providerRoles.get(role)) ?? 'viewer'
