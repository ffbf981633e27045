import type { ServiceContext } from '../context.ts'
import { AppError } from './errors.ts'
import type { Permission } from './permissions.ts'

/**
 * For what an operation does beyond its own subject: its access names one permission, and a webhook, a schedule or a
 * workflow starts executions too.
 */
export function requirePermission({ actor }: Pick<ServiceContext, 'actor'>, permission: Permission): void {
  if (!actor.permissions.has(permission)) throw new AppError('forbidden', `This needs the permission ${permission}.`)
}
