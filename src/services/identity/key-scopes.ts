import type { ServiceContext } from '../../context.ts'
import { AppError } from '../../lib/errors.ts'
import { isRole, permissionsOf, type Permission } from '../../lib/permissions.ts'
import type { KeyKind } from './key-format.ts'

/**
 * The permissions that a new key will hold. A role, built in or one of the workspace's, is written out: so the key does not grow
 * with the role or with later versions.
 */
export async function scopesFor(
  { db, actor }: Pick<ServiceContext, 'db' | 'actor'>,
  kind: KeyKind,
  wanted: readonly Permission[] | string,
): Promise<Permission[]> {
  const list = typeof wanted === 'string' ? await permissionsOfRole({ db, actor }, wanted) : wanted
  if (kind === 'widget' && list.length > 0) {
    throw new AppError('invalid', 'A widget key cannot hold server permissions.', {
      errors: [{ pointer: '/scopes', detail: 'must be empty for a widget key' }],
    })
  }
  const missing = list.filter((permission) => !actor.permissions.has(permission))
  if (missing.length > 0) {
    throw new AppError('forbidden', `A key cannot hold more than its maker, who lacks ${missing.join(', ')}.`)
  }
  return [...new Set(list)]
}

async function permissionsOfRole(
  { db, actor }: Pick<ServiceContext, 'db' | 'actor'>,
  role: string,
): Promise<Permission[]> {
  // PostgreSQL's text takes no NUL, not even to compare with.
  const own =
    isRole(role) || role.includes('\0')
      ? undefined
      : await db
          .selectFrom('roles')
          .select('permissions')
          .where('workspace_id', '=', actor.workspaceId)
          .where('slug', '=', role)
          .executeTakeFirst()
  if (!isRole(role) && !own) {
    const detail = 'must be a list of permissions, or the slug of a role'
    throw new AppError('invalid', `scopes ${detail}.`, { errors: [{ pointer: '/scopes', detail }] })
  }
  // What counts in the operator's workspace alone is no part of a role elsewhere.
  return permissionsOf(role, { isOperator: actor.permissions.has('system:read'), custom: own?.permissions ?? null })
}
