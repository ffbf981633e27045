import { sql, type Kysely, type Transaction } from 'kysely'
import type { Actor, ServiceContext } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { AppError } from '../../lib/errors.ts'
import { isRole, permissionsIn, permissionsOf, type Permission } from '../../lib/permissions.ts'
import { lockCurrent, requireCurrent } from '../workspaces/current.ts'

/** What the roles of a workspace give, its own among them. */
export interface Standing {
  name: string
  /** Null: there is no such role. */
  permissionsOf(role: string): Permission[] | null
}

export async function readStanding(db: Kysely<Database>, workspaceId: string): Promise<Standing> {
  const { name, is_operator: isOperator } = await db
    .selectFrom('workspaces')
    .select(['name', 'is_operator'])
    .where('id', '=', workspaceId)
    .executeTakeFirstOrThrow()
  const rows = await db
    .selectFrom('roles')
    .select(['slug', 'permissions'])
    .where('workspace_id', '=', workspaceId)
    .execute()
  const own = new Map(rows.map(({ slug, permissions }) => [slug, permissions]))
  return {
    name,
    permissionsOf: (role) =>
      isRole(role) || own.has(role) ? permissionsOf(role, { isOperator, custom: own.get(role) ?? null }) : null,
  }
}

/** With what the caller holds now that the team is locked, and not when the request came in. */
export interface LockedStanding extends Standing {
  permissions: ReadonlySet<Permission>
}

/**
 * A change of the team of the caller's workspace, who `needs` a permission for it. Such changes take turns, so what is found to
 * be so (an owner that is left, a role that nobody has, what the caller holds) is so until the commit.
 */
export function changeTeam<T>(
  ctx: Pick<ServiceContext, 'db' | 'actor'>,
  named: string,
  change: (tx: Transaction<Database>, standing: LockedStanding) => Promise<T>,
  needs: Permission | null = 'members:manage',
): Promise<T> {
  requireCurrent(ctx, named)
  return ctx.db.transaction().execute(async (tx) => {
    const { deleted_at, is_operator: isOperator } = await lockCurrent(tx, ctx)
    const standing = await readStanding(tx, ctx.actor.workspaceId)
    const permissions = await heldNow(tx, ctx.actor, standing, isOperator)
    if (needs !== null) {
      if (!permissions.has(needs)) throw new AppError('forbidden', `You do not hold ${needs} any more.`)
      if (deleted_at) throw new AppError('conflict', 'The workspace is to be deleted. Restore it first.')
    }
    return change(tx, { ...standing, permissions })
  })
}

/** Of what the caller came with, what their role or their key still gives: others may have taken it meanwhile. */
async function heldNow(
  tx: Transaction<Database>,
  { kind, id, workspaceId, permissions }: Actor,
  standing: Standing,
  isOperator: boolean,
): Promise<ReadonlySet<Permission>> {
  if (kind === 'system') return permissions
  let now: readonly Permission[]
  if (kind === 'user') {
    const member = await tx
      .selectFrom('memberships')
      .select('role')
      .where('workspace_id', '=', workspaceId)
      .where('user_id', '=', id)
      .executeTakeFirst()
    now = (member && standing.permissionsOf(member.role)) ?? []
  } else {
    const key = await tx
      .selectFrom('api_keys')
      .select('scopes')
      .where('workspace_id', '=', workspaceId)
      .where('id', '=', id)
      .where('revoked_at', 'is', null)
      .where(sql<boolean>`(expires_at is null or expires_at > app_now())`)
      .executeTakeFirst()
    now = permissionsIn(key?.scopes ?? [], { isOperator })
  }
  return new Set(now.filter((permission) => permissions.has(permission)))
}

/** Throws where the caller would give, or lay hands on, more than the caller holds. */
export function requireNoStronger(
  { permissions }: Pick<Actor, 'permissions'>,
  others: readonly Permission[],
  what: string,
): void {
  const missing = others.filter((permission) => !permissions.has(permission))
  if (missing.length > 0) {
    throw new AppError('forbidden', `${what} holds more than you do: ${missing.join(', ')}.`)
  }
}

/** The permissions of a role that the caller may give. */
export function requireGivable(standing: LockedStanding, role: string): Permission[] {
  const given = standing.permissionsOf(role)
  if (given === null) {
    throw new AppError('invalid', `There is no role '${role.slice(0, 100)}'.`, {
      errors: [{ pointer: '/role', detail: 'is no role of this workspace' }],
    })
  }
  requireNoStronger(standing, given, `The role ${role}`)
  return given
}
