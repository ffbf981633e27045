import { z } from '@hono/zod-openapi'
import { operation, reply, type RouteGroup } from '../lib/operation.ts'
import { pageOf, pageQuery } from '../lib/pagination.ts'
import {
  createCredential,
  credentialTag,
  deleteCredential,
  getCredential,
  listCredentials,
} from '../services/credentials.service.ts'

const example = {
  id: '01939f3c-5c2a-7b3e-9d1a-2f6b8c4d5e6f',
  slug: 'issue-tracker',
  name: 'Issue tracker',
  kind: 'bearer',
  hosts: ['api.tracker.example'],
  fields: ['token'],
  last_used_at: null,
  created_at: '2026-11-22T08:00:00.000Z',
}

const Credential = z
  .object({
    id: z.uuid(),
    slug: z.string(),
    name: z.string(),
    kind: z.enum(['bearer', 'basic', 'header', 'query']),
    hosts: z.array(z.string()).openapi({ description: 'The only hosts that the secret is sent to.' }),
    fields: z.array(z.string()).openapi({ description: "Names for `secret('slug.field')`. Values are never shown." }),
    last_used_at: z.iso.datetime().nullable().openapi({ description: 'Exact to the minute.' }),
    created_at: z.iso.datetime(),
  })
  .openapi('Credential')

const common = {
  slug: z.string().regex(/^[a-z][a-z0-9-]{1,62}$/, 'must match [a-z][a-z0-9-]{1,62}'),
  name: z.string().trim().min(1).max(200).optional().openapi({ description: 'For people. Default: the slug.' }),
  hosts: z
    .array(z.string().min(1).max(300))
    .min(1)
    .max(50)
    .openapi({ description: 'Hosts that may receive the secret: `host`, `host:port` or `*.suffix`.' }),
}
const secret = z.string().min(1).max(8192)
const NewCredential = z
  .discriminatedUnion('kind', [
    z.strictObject({ ...common, kind: z.literal('bearer'), fields: z.strictObject({ token: secret }) }),
    z.strictObject({
      ...common,
      kind: z.literal('basic'),
      fields: z.strictObject({ username: z.string().max(300), password: z.string().max(8192) }),
    }),
    z.strictObject({
      ...common,
      kind: z.literal('header'),
      fields: z.strictObject({ name: z.string().min(1).max(100), value: secret }),
    }),
    z.strictObject({
      ...common,
      kind: z.literal('query'),
      fields: z.strictObject({ name: z.string().min(1).max(100), value: secret }),
    }),
  ])
  .openapi('NewCredential')

const params = z.object({ credential: z.string().openapi({ description: 'Slug or id.' }) })

export const credentialsRoutes: RouteGroup = {
  prefix: '/api/credentials',
  tag: 'Credentials',
  description:
    'Secrets that recipes and tools use without seeing them. They are encrypted, never returned, and sent to their hosts alone.',
  operations: [
    operation(
      {
        operationId: 'createCredential',
        method: 'post',
        path: '/',
        summary: 'Store a credential',
        access: 'credentials:manage',
        idempotent: 'sealed',
        body: NewCredential,
        bodyExample: { slug: example.slug, kind: 'bearer', fields: { token: 'the-secret' }, hosts: example.hosts },
        responses: {
          201: {
            description: 'The credential without its secret.',
            schema: Credential,
            headers: { location: 'The address of the credential.' },
            example,
          },
        },
        etag: 'create',
        problems: ['conflict'],
      },
      async (ctx, { body }) => {
        const created = await createCredential(ctx, body)
        return reply(201, created, { location: `/api/credentials/${created.slug}`, etag: credentialTag(created) })
      },
    ),
    operation(
      {
        operationId: 'listCredentials',
        method: 'get',
        path: '/',
        summary: 'List the credentials of the workspace',
        access: 'credentials:read',
        query: z.object(pageQuery),
        responses: {
          200: {
            description: 'Credentials, newest first, without their secrets.',
            schema: pageOf(Credential).openapi('CredentialList'),
            example: { items: [example], next_cursor: null },
          },
        },
      },
      async (ctx, { query }) => reply(200, await listCredentials(ctx, query)),
    ),
    operation(
      {
        operationId: 'getCredential',
        method: 'get',
        path: '/{credential}',
        summary: 'Read a credential without its secret',
        access: 'credentials:read',
        params,
        responses: { 200: { description: 'The credential.', schema: Credential, example } },
        etag: 'read',
        problems: ['not-found'],
      },
      async (ctx, { params }) => {
        const credential = await getCredential(ctx, params.credential)
        return reply(200, credential, { etag: credentialTag(credential) })
      },
    ),
    operation(
      {
        operationId: 'deleteCredential',
        method: 'delete',
        path: '/{credential}',
        summary: 'Delete a credential',
        description: 'What still names it is refused at its next request.',
        access: 'credentials:manage',
        params,
        responses: { 204: { description: 'The credential is gone.' } },
        etag: 'change',
        problems: ['not-found'],
      },
      async (ctx, { params: { credential }, request }) => {
        await deleteCredential(ctx, credential, request.headers.get('if-match'))
        return reply(204)
      },
    ),
  ],
}
