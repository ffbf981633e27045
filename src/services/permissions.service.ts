import type { ServiceContext } from '../context.ts'
import { isRole, permissions, rolePermissions, type Permission } from '../lib/permissions.ts'

type Context = Pick<ServiceContext, 'db' | 'actor'>

/** The one table of roles, and what the caller holds of it, both in the table's order. */
export function effectivePermissions({ actor }: Pick<ServiceContext, 'actor'>) {
  return {
    permissions: [...permissions],
    roles: rolePermissions,
    effective: permissions.filter((permission) => actor.permissions.has(permission)),
  }
}

/** Where what a caller holds comes from. */
export type PermissionSource =
  | { kind: 'role'; role: string; built_in: boolean }
  | { kind: 'key'; api_key_id: string }
  | { kind: 'system' }

export interface ExplainedPermission {
  permission: Permission
  granted: boolean
  /** Null where it is not granted. */
  source: PermissionSource | null
  /** Why what the source names does not count here. */
  withheld: 'operator_only' | 'workspace_deleted' | null
}

/** Every permission, whether the caller holds it in this workspace, and by what. */
export async function explainPermissions({ db, actor }: Context): Promise<ExplainedPermission[]> {
  const { workspaceId } = actor
  const { deleted_at, is_operator } = await db
    .selectFrom('workspaces')
    .select(['deleted_at', 'is_operator'])
    .where('id', '=', workspaceId)
    .executeTakeFirstOrThrow()
  const { source, named } = await sourceOf({ db, actor })
  return permissions.map((permission) => {
    const granted = actor.permissions.has(permission)
    const isWithheld = !granted && named.has(permission)
    const withheld = deleted_at !== null ? 'workspace_deleted' : is_operator ? null : 'operator_only'
    return { permission, granted, source: granted ? source : null, withheld: isWithheld ? withheld : null }
  })
}

async function sourceOf({ db, actor }: Context): Promise<{ source: PermissionSource; named: ReadonlySet<string> }> {
  if (actor.kind === 'system') return { source: { kind: 'system' }, named: actor.permissions }
  if (actor.kind === 'key') {
    const key = await db
      .selectFrom('api_keys')
      .select('scopes')
      .where('workspace_id', '=', actor.workspaceId)
      .where('id', '=', actor.id)
      .executeTakeFirst()
    return { source: { kind: 'key', api_key_id: actor.id }, named: new Set(key?.scopes) }
  }
  const member = await db
    .selectFrom('memberships as m')
    .leftJoin('roles as r', (join) =>
      join.onRef('r.workspace_id', '=', 'm.workspace_id').onRef('r.slug', '=', 'm.role'),
    )
    .select(['m.role', 'r.permissions'])
    .where('m.workspace_id', '=', actor.workspaceId)
    .where('m.user_id', '=', actor.id)
    .executeTakeFirst()
  const role = member?.role ?? ''
  const builtIn = isRole(role) ? rolePermissions[role] : null
  return {
    source: { kind: 'role', role, built_in: builtIn !== null },
    named: new Set<string>(builtIn ?? member?.permissions),
  }
}
