import { sql, type Kysely } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { jsonb } from '../../db/json.ts'
import { AppError } from '../../lib/errors.ts'
import { entityTag, requireMatch } from '../../lib/etag.ts'
import { uuidv7 } from '../../lib/ids.ts'
import { isRole, roles as builtIn, type Permission } from '../../lib/permissions.ts'
import { faultOfSlug } from '../../lib/slug.ts'
import { changesOf, recordAudit } from '../audit/record.ts'
import { callerCacheOf } from '../identity/caller-cache.ts'
import { requireCurrent } from '../workspaces/current.ts'
import { changeTeam, readStanding, requireNoStronger } from './standing.ts'

export interface TeamRole {
  slug: string
  name: string
  description: string | null
  permissions: Permission[]
  built_in: boolean
  /** Members who have it, and open invitations that give it. */
  in_use: number
}

type Context = Pick<ServiceContext, 'db' | 'actor'>
export interface RoleInput {
  name: string
  description?: string | null | undefined
  permissions: readonly Permission[]
}

/** Every change of a team reads them all. */
const mostRoles = 50

const names: Record<(typeof builtIn)[number], string> = {
  owner: 'Owner',
  admin: 'Administrator',
  editor: 'Editor',
  viewer: 'Viewer',
}

async function readRoles(db: Kysely<Database>, workspaceId: string): Promise<TeamRole[]> {
  const standing = await readStanding(db, workspaceId)
  const { rows } = await sql<{ slug: string; name: string | null; description: string | null; in_use: number }>`
    select coalesce(r.slug, u.role) as slug, r.name, r.description, coalesce(u.count, 0)::integer as in_use
    from (select * from roles where workspace_id = ${workspaceId}) r
    full join (
      select role, count(*) from (
        select role from memberships where workspace_id = ${workspaceId}
        union all select role from invitations where workspace_id = ${workspaceId}
          and accepted_at is null and revoked_at is null and expires_at > app_now()
      ) given group by role
    ) u on u.role = r.slug
    order by r.created_at, r.id`.execute(db)
  const own = rows.flatMap(({ slug, name, description, in_use }) =>
    name === null
      ? []
      : [{ slug, name, description, permissions: standing.permissionsOf(slug) ?? [], built_in: false, in_use }],
  )
  const always = builtIn.map((slug) => ({
    slug,
    name: names[slug],
    description: null,
    permissions: standing.permissionsOf(slug)!,
    built_in: true,
    in_use: rows.find((row) => row.slug === slug)?.in_use ?? 0,
  }))
  return [...always, ...own]
}

export async function listRoles(ctx: Context, named: string): Promise<TeamRole[]> {
  requireCurrent(ctx, named)
  return readRoles(ctx.db, ctx.actor.workspaceId)
}

export async function getRole(ctx: Context, named: string, slug: string): Promise<TeamRole> {
  return findRole(await listRoles(ctx, named), slug)
}

function findRole(all: TeamRole[], slug: string): TeamRole {
  const role = all.find((each) => each.slug === slug)
  if (!role) throw new AppError('not-found', `The workspace has no role '${slug.slice(0, 100)}'.`)
  return role
}

function requireOwn(role: TeamRole): TeamRole {
  if (role.built_in) throw new AppError('conflict', 'A built-in role stays what it is. Make one of your own.')
  return role
}

/** A role cannot hold more than its maker. */
export async function createRole(
  ctx: ServiceContext,
  named: string,
  input: RoleInput & { slug: string },
): Promise<TeamRole> {
  const fault = isRole(input.slug) ? 'is a built-in role' : faultOfSlug(input.slug)
  if (fault !== null) {
    throw new AppError('invalid', 'The role has faults.', { errors: [{ pointer: '/slug', detail: fault }] })
  }
  return changeTeam(ctx, named, async (tx, standing) => {
    requireNoStronger(standing, input.permissions, 'The role')
    const { workspaceId } = ctx.actor
    const { count } = await tx
      .selectFrom('roles')
      .select(({ fn }) => fn.countAll<string>().as('count'))
      .where('workspace_id', '=', workspaceId)
      .executeTakeFirstOrThrow()
    if (Number(count) >= mostRoles) throw new AppError('conflict', `A workspace can have ${mostRoles} roles at most.`)
    const made = await tx
      .insertInto('roles')
      .values({
        id: uuidv7(),
        workspace_id: workspaceId,
        slug: input.slug,
        name: input.name,
        description: input.description ?? null,
        permissions: jsonb([...new Set(input.permissions)]),
      })
      .onConflict((conflict) => conflict.columns(['workspace_id', 'slug']).doNothing())
      .returning('id')
      .executeTakeFirst()
    if (!made) throw new AppError('conflict', `There is a role '${input.slug}' already.`)
    const role = findRole(await readRoles(tx, workspaceId), input.slug)
    await recordAudit(tx, ctx, { action: 'role.created', target: targetOf(role), after: shown(role) })
    return role
  })
}

/** What it gives changes for all who have it: here before this returns, in other processes as soon as they are told. */
export async function updateRole(
  ctx: ServiceContext,
  {
    workspace,
    role: slug,
    ifMatch,
    ...input
  }: Partial<RoleInput> & { workspace: string; role: string; ifMatch: string | null },
): Promise<TeamRole> {
  const role = await changeTeam(ctx, workspace, async (tx, standing) => {
    const { workspaceId } = ctx.actor
    const current = requireOwn(findRole(await readRoles(tx, workspaceId), slug))
    requireMatch(ifMatch, roleTag(current))
    requireNoStronger(standing, [...current.permissions, ...(input.permissions ?? [])], 'The role')
    await tx
      .updateTable('roles')
      .set({
        ...(input.name !== undefined && { name: input.name }),
        ...(input.description !== undefined && { description: input.description }),
        ...(input.permissions !== undefined && { permissions: jsonb([...new Set(input.permissions)]) }),
        updated_at: sql<Date>`app_now()`,
      })
      .where('workspace_id', '=', workspaceId)
      .where('slug', '=', slug)
      .execute()
    const next = findRole(await readRoles(tx, workspaceId), slug)
    await recordAudit(tx, ctx, {
      action: 'role.updated',
      target: targetOf(next),
      ...changesOf(shown(current), shown(next)),
    })
    return next
  })
  callerCacheOf(ctx).forget(ctx.actor.workspaceId)
  return role
}

export async function deleteRole(
  ctx: ServiceContext,
  { workspace, role: slug, ifMatch }: { workspace: string; role: string; ifMatch: string | null },
): Promise<void> {
  await changeTeam(ctx, workspace, async (tx, standing) => {
    const { workspaceId } = ctx.actor
    const current = requireOwn(findRole(await readRoles(tx, workspaceId), slug))
    requireMatch(ifMatch, roleTag(current))
    requireNoStronger(standing, current.permissions, 'The role')
    if (current.in_use > 0) {
      throw new AppError('conflict', `The role is given to ${current.in_use}: members, or people who are invited.`)
    }
    const organization = await tx
      .selectFrom('org_workspaces')
      .select('role_map')
      .where('workspace_id', '=', workspaceId)
      .executeTakeFirst()
    if (Object.values(organization?.role_map ?? {}).includes(slug)) {
      throw new AppError(
        'conflict',
        'The role is given to who comes in by the organization. Change its `role_map` first.',
      )
    }
    await tx.deleteFrom('roles').where('workspace_id', '=', workspaceId).where('slug', '=', slug).execute()
    await recordAudit(tx, ctx, { action: 'role.deleted', target: targetOf(current), before: shown(current) })
  })
}

const targetOf = ({ slug }: TeamRole) => ({ type: 'role', id: slug })
const shown = ({ name, description, permissions }: TeamRole) => ({ name, description, permissions })

export const roleTag = ({ in_use, ...role }: TeamRole): string => entityTag(role, in_use)
