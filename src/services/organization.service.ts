import { sql, type Selectable } from 'kysely'
import type { ServiceContext } from '../context.ts'
import { jsonb } from '../db/json.ts'
import type { OrgWorkspacesTable } from '../db/tables/tokens.table.ts'
import { AppError, type Fault } from '../lib/errors.ts'
import { entityTag, requireMatch } from '../lib/etag.ts'
import { changesOf, recordAudit } from './audit/record.ts'
import { mappedRole, providerRoles } from './identity/orgs.ts'
import { changeTeam, requireNoStronger, type LockedStanding } from './team/standing.ts'

/** The organization of an identity provider whose workspace this is; nothing but nulls where it is none's. */
export interface Organization {
  issuer: string | null
  org_id: string | null
  role_map: Record<string, string>
  created_at: string | null
  updated_at: string | null
}

type Context = Pick<ServiceContext, 'db' | 'actor'>

export async function getOrganization({ db, actor }: Context): Promise<Organization> {
  const row = await db
    .selectFrom('org_workspaces')
    .selectAll()
    .where('workspace_id', '=', actor.workspaceId)
    .executeTakeFirst()
  return toOrganization(row)
}

/** Which role somebody gets here who comes in with a role there. Nobody lets others in with more than they have themselves. */
export async function updateOrganization(
  ctx: ServiceContext,
  { roleMap }: { roleMap: Record<string, string> },
  ifMatch: string | null = null,
): Promise<Organization> {
  const { actor } = ctx
  // As who changes the team does, so that no role goes that is mapped to.
  return changeTeam(ctx, 'current', async (tx, standing) => {
    const before = await getOrganization({ db: tx, actor })
    if (before.org_id === null) {
      throw new AppError('not-found', 'The workspace belongs to no organization of an identity provider.')
    }
    requireMatch(ifMatch, organizationTag(before))
    await requireRoles({ db: tx, actor }, standing, before.role_map, roleMap)
    const row = await tx
      .updateTable('org_workspaces')
      .set({ role_map: jsonb(roleMap), updated_at: sql<Date>`app_now()` })
      .where('workspace_id', '=', actor.workspaceId)
      .returningAll()
      .executeTakeFirstOrThrow()
    const target = { type: 'organization', id: before.org_id }
    const after = toOrganization(row)
    await recordAudit(tx, ctx, { action: 'organization.changed', target, ...changesOf(before, after) })
    return after
  })
}

/** Every name that leads elsewhere than before, also one that is not in the map any more and leads where it does by itself. */
async function requireRoles(
  { db, actor }: Context,
  standing: LockedStanding,
  before: Readonly<Record<string, string>>,
  after: Readonly<Record<string, string>>,
): Promise<void> {
  const owner = await db
    .selectFrom('memberships')
    .select('user_id')
    .where('workspace_id', '=', actor.workspaceId)
    .where('role', '=', 'owner')
    .limit(1)
    .executeTakeFirst()
  const faults: Fault[] = []
  for (const name of new Set([...providerRoles.keys(), ...Object.keys(before), ...Object.keys(after)])) {
    const role = mappedRole(name, after)
    const given = standing.permissionsOf(role)
    if (given === null && Object.hasOwn(after, name)) {
      const pointer = `/role_map/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`
      faults.push({ pointer, detail: 'is no role of the workspace' })
    }
    if (role === mappedRole(name, before)) continue
    // Where there is no owner, the first administrator to come in becomes one.
    const held = role === 'admin' && !owner ? standing.permissionsOf('owner') : given
    requireNoStronger(standing, held ?? [], `The role ${role}`)
  }
  if (faults.length > 0) throw new AppError('invalid', 'The roles cannot be mapped like this.', { errors: faults })
}

export const organizationTag = (organization: Organization): string => entityTag(organization)

const toOrganization = (row: Selectable<OrgWorkspacesTable> | undefined): Organization => ({
  issuer: row?.issuer ?? null,
  org_id: row?.org_id ?? null,
  role_map: row?.role_map ?? {},
  created_at: row?.created_at.toISOString() ?? null,
  updated_at: row?.updated_at.toISOString() ?? null,
})
