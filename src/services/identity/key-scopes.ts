import type { Actor } from '../../context.ts'
import { AppError } from '../../lib/errors.ts'
import { isRole, rolePermissions, type Permission, type Role } from '../../lib/permissions.ts'
import type { KeyKind } from './key-format.ts'

/** The permissions that a new key will hold; a role is written out, so the key does not grow with later versions. */
export function scopesFor(
  actor: Pick<Actor, 'permissions'>,
  kind: KeyKind,
  wanted: readonly Permission[] | Role,
): Permission[] {
  const list: readonly Permission[] = isRole(wanted) ? rolePermissions[wanted] : wanted
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
