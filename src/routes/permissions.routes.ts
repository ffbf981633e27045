import { z } from '@hono/zod-openapi'
import { operation, reply, type RouteGroup } from '../lib/operation.ts'
import { effectivePermissions, explainPermissions } from '../services/permissions.service.ts'

const Permissions = z
  .object({
    permissions: z.array(z.string()).openapi({ description: 'Every permission there is.' }),
    roles: z.record(z.string(), z.array(z.string())).openapi({
      description:
        'What each built-in role grants; `system:` permissions only in the workspace of the operator. The roles of a workspace are at `/api/workspaces/{workspace}/team/roles`.',
    }),
    effective: z.array(z.string()).openapi({ description: 'What the caller holds.' }),
  })
  .openapi('Permissions')

const Explained = z
  .object({
    permission: z.string(),
    granted: z.boolean(),
    source: z
      .union([
        z.object({ kind: z.literal('role'), role: z.string(), built_in: z.boolean() }),
        z.object({ kind: z.literal('key'), api_key_id: z.uuid() }),
        z.object({ kind: z.literal('system') }),
      ])
      .nullable()
      .openapi({ description: 'By what the caller holds it: a role in the workspace, or the scopes of a key.' }),
    withheld: z.enum(['operator_only', 'workspace_deleted']).nullable().openapi({
      description:
        'Why the role or the key names it and it does not count: it is for the workspace of the operator, or this one is to be deleted.',
    }),
  })
  .openapi('ExplainedPermission')
const Effective = z.object({ items: z.array(Explained) }).openapi('EffectivePermissions')

export const permissionsRoutes: RouteGroup = {
  prefix: '/api/permissions',
  tag: 'Permissions',
  description: 'Which permissions exist, which role grants them, which of them the caller holds.',
  operations: [
    operation(
      {
        operationId: 'listPermissions',
        method: 'get',
        path: '/',
        summary: 'Read the role table and the permissions of the key',
        access: 'authenticated',
        responses: {
          200: {
            description: 'The role table and what the key holds.',
            schema: Permissions,
            example: {
              permissions: ['agents:read', 'agents:write'],
              roles: { editor: ['agents:read', 'agents:write'], viewer: ['agents:read'] },
              effective: ['agents:read'],
            },
          },
        },
      },
      (ctx) => reply(200, effectivePermissions(ctx)),
    ),
    operation(
      {
        operationId: 'explainPermissions',
        method: 'get',
        path: '/effective',
        summary: 'Read what the caller may do here, each permission with its source',
        access: 'authenticated',
        responses: {
          200: {
            description: 'Every permission there is, in the order of the table.',
            schema: Effective,
            example: {
              items: [
                {
                  permission: 'agents:read',
                  granted: true,
                  source: { kind: 'role', role: 'editor', built_in: true },
                  withheld: null,
                },
                { permission: 'members:manage', granted: false, source: null, withheld: null },
              ],
            },
          },
        },
      },
      async (ctx) => reply(200, { items: await explainPermissions(ctx) }),
    ),
  ],
}
