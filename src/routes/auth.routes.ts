import { z } from '@hono/zod-openapi'
import { operation, reply, type RouteGroup } from '../lib/operation.ts'
import { roles } from '../lib/permissions.ts'
import { getIdentity, signOutEverywhere } from '../services/auth.service.ts'

const Identity = z
  .object({
    kind: z.enum(['key', 'user']),
    user: z
      .object({
        id: z.uuid(),
        email: z.string().nullable(),
        name: z.string().nullable(),
        created_at: z.iso.datetime(),
      })
      .nullable()
      .openapi({ description: 'Null for a key. E-mail and name are what the newest token said.' }),
    api_key: z
      .object({
        id: z.uuid(),
        name: z.string(),
        kind: z.enum(['server', 'widget']),
        prefix: z.string(),
        expires_at: z.iso.datetime().nullable(),
      })
      .nullable()
      .openapi({ description: 'Null for a user.' }),
    workspace: z.object({ id: z.uuid(), slug: z.string(), name: z.string() }),
    role: z.enum(roles).nullable().openapi({ description: 'Of the user in this workspace; null for a key.' }),
    permissions: z.array(z.string()).openapi({ description: 'What the caller may do in this workspace.' }),
  })
  .openapi('Identity')

const SignedOut = z
  .object({ tokens_valid_after: z.iso.datetime().openapi({ description: 'Tokens issued before are refused.' }) })
  .openapi('SignedOut', { example: { tokens_valid_after: '2026-11-22T08:00:00.000Z' } })

export const authRoutes: RouteGroup = {
  prefix: '/api/auth',
  tag: 'Authentication',
  description: 'Who calls. Signing in is the business of the identity provider.',
  operations: [
    operation(
      {
        operationId: 'getIdentity',
        method: 'get',
        path: '/me',
        summary: 'Read who calls, in which workspace, with which role and permissions',
        access: 'authenticated',
        responses: {
          200: {
            description: 'The caller.',
            schema: Identity,
            example: {
              kind: 'user',
              user: {
                id: '01939f3c-5c2a-7b3e-9d1a-2f6b8c4d5e6f',
                email: 'user@example.com',
                name: 'Example User',
                created_at: '2026-11-22T08:00:00.000Z',
              },
              api_key: null,
              workspace: {
                id: '01939f3c-5c2b-7b3e-9d1a-2f6b8c4d5e6f',
                slug: 'example-user-4f1d8a2c',
                name: 'Example User',
              },
              role: 'owner',
              permissions: ['workspaces:read', 'workspaces:manage'],
            },
          },
        },
      },
      async (ctx) => reply(200, await getIdentity(ctx)),
    ),
    operation(
      {
        operationId: 'signOutEverywhere',
        method: 'post',
        path: '/sign-out-everywhere',
        summary: 'Refuse every token that was issued to the user so far',
        description:
          'The one of this request included. At once in the process that answers, within ten seconds in every other. API keys that the user made stay valid. Keys are refused here: they are revoked instead.',
        access: 'authenticated',
        responses: { 200: { description: 'From when on tokens count.', schema: SignedOut } },
      },
      async (ctx) => reply(200, await signOutEverywhere(ctx)),
    ),
  ],
}
