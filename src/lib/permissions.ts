/** Every permission there is, as `resource:action`. A route names one; a key holds a list; an empty list grants nothing. */
export const permissions = [
  'workspaces:read',
  'workspaces:manage',
  'api-keys:read',
  'api-keys:manage',
  'credentials:read',
  'credentials:manage',
  'agents:read',
  'agents:write',
  'agents:execute',
  'models:read',
  'recipes:read',
  'recipes:write',
  'recipes:execute',
  'executions:read',
  'executions:control',
  'approvals:read',
  'approvals:decide',
  'events:send',
  'schedules:read',
  'schedules:write',
  'webhooks:read',
  'webhooks:write',
  'files:read',
  'files:write',
  'members:read',
  'members:manage',
  'audit:read',
  'budgets:read',
  'budgets:manage',
  'privacy:export',
  'system:read',
  'system:manage',
] as const
export type Permission = (typeof permissions)[number]

const all: readonly Permission[] = permissions
/** What tells of keys, of credentials and of who has done what from where is no plain reading. */
const guarded: readonly Permission[] = ['api-keys:read', 'credentials:read', 'audit:read']
const readOnly = permissions.filter((p) => p.endsWith(':read') && !guarded.includes(p))

/** Which permissions a built-in role gives; a workspace may have roles of its own beside them. Nothing else grants. */
export const rolePermissions = {
  owner: all,
  admin: all.filter((p) => p !== 'workspaces:manage' && p !== 'system:manage'),
  editor: [
    ...readOnly,
    'credentials:read',
    'agents:write',
    'agents:execute',
    'recipes:write',
    'recipes:execute',
    'executions:control',
    'approvals:decide',
    'events:send',
    'schedules:write',
    'webhooks:write',
    'files:write',
  ],
  viewer: readOnly,
} as const satisfies Record<string, readonly Permission[]>
export type Role = keyof typeof rolePermissions

export const isPermission = (text: string): text is Permission => (permissions as readonly string[]).includes(text)

export const roles = ['owner', 'admin', 'editor', 'viewer'] as const satisfies readonly Role[]
export const isRole = (value: unknown): value is Role => (roles as readonly unknown[]).includes(value)

/** What decides in a workspace which of the permissions that somebody was given count. */
export interface WorkspaceState {
  /** The operator's workspace: the only one where `system:` permissions count. */
  isOperator: boolean
  /** Between its deletion and its purge a workspace can be read, taken along and restored. */
  isDeleted?: boolean
}

export const isOperators = (permission: string): boolean => permission.startsWith('system:')
const outlivesDeletion = (permission: string): boolean =>
  permission.endsWith(':read') || permission === 'workspaces:manage' || permission === 'privacy:export'

/** Those of a list that count in a workspace. */
export const permissionsIn = (given: readonly string[], { isOperator, isDeleted }: WorkspaceState): Permission[] =>
  given
    .filter(isPermission)
    .filter((each) => (isOperator || !isOperators(each)) && (!isDeleted || outlivesDeletion(each)))

/** What a role gives in a workspace. `custom` is the list of a role that is not built in; a role that is gone gives nothing. */
export const permissionsOf = (role: string, of: WorkspaceState & { custom?: readonly string[] | null }): Permission[] =>
  permissionsIn(isRole(role) ? rolePermissions[role] : (of.custom ?? []), of)
