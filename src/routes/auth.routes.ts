import { z } from '@hono/zod-openapi'
import { operation, reply, type RouteGroup } from '../lib/operation.ts'
import { getOrganization, organizationTag, updateOrganization } from '../services/organization.service.ts'
import { getIdentity, signOut, signOutEverywhere } from '../services/auth.service.ts'

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
    session_id: z
      .string()
      .nullable()
      .openapi({ description: 'The session at the identity provider, where the token names one.' }),
    workspace: z.object({ id: z.uuid(), slug: z.string(), name: z.string() }),
    role: z.string().nullable().openapi({ description: 'Of the user in this workspace; null for a key.' }),
    permissions: z.array(z.string()).openapi({ description: 'What the caller may do in this workspace.' }),
  })
  .openapi('Identity')

const SignedOut = z
  .object({ tokens_valid_after: z.iso.datetime().openapi({ description: 'Tokens issued before are refused.' }) })
  .openapi('SignedOut', { example: { tokens_valid_after: '2026-11-22T08:00:00.000Z' } })

const SignOut = z
  .strictObject({
    session_id: z
      .string()
      .min(1)
      .max(255)
      .refine((text) => !/[\0\p{Surrogate}]/u.test(text), 'must be text without NUL and halves of characters')
      .optional()
      .openapi({ description: 'The `sid` of its tokens. Default: the session of this request.' }),
  })
  .openapi('SignOut')
const EndedSession = z
  .object({ session_id: z.string(), revoked_at: z.iso.datetime() })
  .openapi('EndedSession', { example: { session_id: 'sess_2f6b8c4d5e6f', revoked_at: '2026-11-22T08:00:00.000Z' } })

const Organization = z
  .object({
    issuer: z.string().nullable().openapi({ description: 'Null where the workspace belongs to no organization.' }),
    org_id: z.string().nullable().openapi({ description: 'Its id at the identity provider.' }),
    role_map: z.record(z.string(), z.string()).openapi({
      description:
        'Roles there to roles here, for whoever comes in for the first time. Without an entry: `admin` is `admin`, `member` is `editor`, any other `viewer`.',
    }),
    created_at: z.iso.datetime().nullable(),
    updated_at: z.iso.datetime().nullable(),
  })
  .openapi('Organization')
const organizationExample = {
  issuer: 'https://example.clerk.accounts.dev',
  org_id: 'org_2f6b8c4d5e6f',
  role_map: { billing: 'viewer' },
  created_at: '2026-11-22T08:00:00.000Z',
  updated_at: '2026-11-22T08:00:00.000Z',
}

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
              session_id: 'sess_2f6b8c4d5e6f',
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
          'The one of this request included, and at once: also in other processes, which the database tells in the same commit. One that it cannot reach follows within ten seconds. API keys that the user made stay valid. Keys are refused here: they are revoked instead.',
        access: 'authenticated',
        responses: { 200: { description: 'From when on tokens count.', schema: SignedOut } },
      },
      async (ctx) => reply(200, await signOutEverywhere(ctx)),
    ),
    operation(
      {
        operationId: 'signOut',
        method: 'post',
        path: '/sign-out',
        summary: 'End one session of the user',
        description:
          'By default the one of this request. Its tokens are refused from now on, as at sign-out everywhere, those that the identity provider still issues for it included. Keys are refused here: they are revoked instead.',
        access: 'authenticated',
        body: SignOut,
        bodyOptional: true,
        bodyExample: { session_id: 'sess_2f6b8c4d5e6f' },
        responses: { 200: { description: 'The session has ended.', schema: EndedSession } },
      },
      async (ctx, { body }) => reply(200, await signOut(ctx, body.session_id)),
    ),
    operation(
      {
        operationId: 'getOrganization',
        method: 'get',
        path: '/organization',
        summary: 'Read which organization of an identity provider the workspace belongs to',
        access: 'members:read',
        responses: { 200: { description: 'The organization.', schema: Organization, example: organizationExample } },
        etag: 'read',
      },
      async (ctx) => {
        const organization = await getOrganization(ctx)
        return reply(200, organization, { etag: organizationTag(organization) })
      },
    ),
    operation(
      {
        operationId: 'updateOrganization',
        method: 'patch',
        path: '/organization',
        summary: 'Say which roles the members of the organization get',
        description:
          '`role_map` is replaced as a whole. It counts for whoever comes in from now on; roles that members have are changed in the team. Nobody gives more than they have.',
        access: 'members:manage',
        body: z
          .strictObject({
            role_map: z
              .record(z.string().min(1).max(255), z.string().min(1).max(63))
              .refine((map) => Object.keys(map).length <= 50, { message: 'must have 50 entries at most' }),
          })
          .openapi('OrganizationChanges'),
        bodyExample: { role_map: { billing: 'viewer' } },
        responses: { 200: { description: 'The organization.', schema: Organization, example: organizationExample } },
        etag: 'change',
        problems: ['not-found', 'conflict'],
      },
      async (ctx, { body, request }) => {
        const changes = { roleMap: body.role_map }
        const organization = await updateOrganization(ctx, changes, request.headers.get('if-match'))
        return reply(200, organization, { etag: organizationTag(organization) })
      },
    ),
  ],
}
