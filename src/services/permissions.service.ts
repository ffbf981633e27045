import type { ServiceContext } from '../context.ts'
import { permissions, rolePermissions } from '../lib/permissions.ts'

/** The one table of roles, and what the caller holds of it, both in the table's order. */
export function effectivePermissions({ actor }: Pick<ServiceContext, 'actor'>) {
  return {
    permissions: [...permissions],
    roles: rolePermissions,
    effective: permissions.filter((permission) => actor.permissions.has(permission)),
  }
}
