import { z } from '@hono/zod-openapi'
import { operation, reply, type RouteGroup } from '../lib/operation.ts'
import { effectivePermissions } from '../services/permissions.service.ts'

const Permissions = z
  .object({
    permissions: z.array(z.string()).openapi({ description: 'Every permission there is.' }),
    roles: z.record(z.string(), z.array(z.string())).openapi({ description: 'What each role grants.' }),
    effective: z.array(z.string()).openapi({ description: 'What the key that asks holds.' }),
  })
  .openapi('Permissions')

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
  ],
}
