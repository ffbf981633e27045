import type { Access } from '../../../src/lib/operation.ts'
import { permissionsOf, type Role } from '../../../src/lib/permissions.ts'

/** Whether the one table of roles lets a member call. */
export function mayCall(role: Role, access: Access, { isOperator = false } = {}): boolean {
  return access === 'public' || access === 'authenticated' || permissionsOf(role, { isOperator }).includes(access)
}
