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
  'system:read',
] as const
export type Permission = (typeof permissions)[number]

const all: readonly Permission[] = permissions
const readOnly = permissions.filter((p) => p.endsWith(':read') && p !== 'api-keys:read' && p !== 'credentials:read')

/** Which permissions a role gives. The one table; nothing else grants. */
export const rolePermissions = {
  owner: all,
  admin: all.filter((p) => p !== 'workspaces:manage'),
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
