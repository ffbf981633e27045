import { z } from '@hono/zod-openapi'
import type { Runtime } from '../context.ts'
import { AppError } from '../lib/errors.ts'
import type { JsonObject } from '../lib/json.ts'
import { escapeHtml } from '../lib/openapi/html.ts'
import { operation, reply, type Reply, type RouteGroup } from '../lib/operation.ts'
import { pageOf, pageQuery } from '../lib/pagination.ts'
import {
  completeAuthorization,
  createCredential,
  credentialTag,
  credentialTypes,
  deleteCredential,
  getCredential,
  listCredentials,
  listCredentialUsage,
  startAuthorization,
  testCredential,
  updateCredential,
} from '../services/credentials.service.ts'
import {
  Credential,
  CredentialChanges,
  credentialExample as example,
  CredentialTest,
  credentialTestExample,
  CredentialType,
  CredentialUsage,
  credentialUsageExample,
  NewCredential,
} from './credentials.schemas.ts'

const params = z.object({ credential: z.string().openapi({ description: 'Slug or id.' }) })
const short = z.string().max(4_000).optional()

export const credentialsRoutes: RouteGroup = {
  prefix: '/api/credentials',
  tag: 'Credentials',
  description:
    'Secrets that recipes and tools use without seeing them. They are encrypted, never returned, and sent to their hosts alone.',
  operations: [
    operation(
      {
        operationId: 'listCredentialTypes',
        method: 'get',
        path: '/types',
        summary: 'List the types of credentials and their fields',
        access: 'credentials:read',
        responses: {
          200: {
            description: 'Every type, with a JSON Schema of its fields.',
            schema: z.object({ items: z.array(CredentialType) }).openapi('CredentialTypeList'),
            example: { items: [credentialTypes.find(({ id }) => id === 'bearer')] },
          },
        },
      },
      () => reply(200, { items: credentialTypes }),
    ),
    operation(
      {
        operationId: 'completeCredentialAuthorization',
        method: 'get',
        path: '/oauth/callback',
        summary: 'Come back from an authorization server',
        access: 'public',
        kind: 'page',
        documented: false,
        query: z.object({ state: short, code: short, error: short }),
        responses: {},
      },
      async (runtime, { query }) => callbackPage(runtime, query),
    ),
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
      async (ctx, { body: { fields, field_schema, ...body } }) => {
        const created = await createCredential(ctx, {
          ...body,
          // What came in as JSON is JSON.
          fields: fields as JsonObject,
          field_schema: field_schema as JsonObject | undefined,
        })
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
        operationId: 'updateCredential',
        method: 'patch',
        path: '/{credential}',
        summary: 'Change a credential',
        description:
          'What is not named stays, field by field. Whatever lets the secret go to another host takes the secret fields anew.',
        access: 'credentials:manage',
        params,
        body: CredentialChanges,
        bodyExample: { fields: { token: 'another-secret' } },
        responses: {
          200: {
            description: 'The credential.',
            schema: Credential,
            example: { ...example, version: 2, last_test: null },
          },
        },
        etag: 'change',
        problems: ['not-found'],
      },
      async (ctx, { params: { credential }, body: { fields, ...body }, request }) => {
        const changes = { ...body, ...(fields && { fields: fields as JsonObject }) }
        const updated = await updateCredential(ctx, credential, changes, request.headers.get('if-match'))
        return reply(200, updated, { etag: credentialTag(updated) })
      },
    ),
    operation(
      {
        operationId: 'deleteCredential',
        method: 'delete',
        path: '/{credential}',
        summary: 'Delete a credential',
        description: 'One that is in use is 409, which names its users, unless that is forced: then they are refused.',
        access: 'credentials:manage',
        params,
        query: z.object({
          force: z
            .enum(['true', 'false'])
            .default('false')
            .openapi({ description: 'Deletes it also where something still names it.', example: 'false' }),
        }),
        responses: { 204: { description: 'The credential is gone.' } },
        etag: 'change',
        problems: ['not-found', 'conflict'],
      },
      async (ctx, { params: { credential }, query, request }) => {
        await deleteCredential(ctx, credential, {
          ifMatch: request.headers.get('if-match'),
          force: query.force === 'true',
        })
        return reply(204)
      },
    ),
    operation(
      {
        operationId: 'testCredential',
        method: 'post',
        path: '/{credential}/test',
        summary: 'Use a credential once, to see whether it works',
        description: "One bounded call through the egress guard: to `test_url`, or to the service's own test.",
        access: 'credentials:manage',
        params,
        responses: {
          200: {
            description: 'What came of it, which is kept with the credential.',
            schema: CredentialTest,
            example: credentialTestExample,
          },
        },
        problems: ['not-found'],
      },
      async (ctx, { params }) => reply(200, await testCredential(ctx, params.credential)),
    ),
    operation(
      {
        operationId: 'authorizeCredential',
        method: 'post',
        path: '/{credential}/authorize',
        summary: 'Get the address at which a person consents',
        description: 'Of type `oauth2_authorization_code`. The address is good for ten minutes and once.',
        access: 'credentials:manage',
        params,
        responses: {
          200: {
            description: 'Where to send the person, and the address to register with the authorization server.',
            schema: z
              .object({ authorization_url: z.string(), redirect_uri: z.string(), expires_at: z.iso.datetime() })
              .openapi('CredentialAuthorization'),
            example: {
              authorization_url: 'https://login.example.com/authorize?response_type=code&client_id=automatos',
              redirect_uri: 'https://api.example.com/api/credentials/oauth/callback',
              expires_at: '2026-11-22T08:10:00.000Z',
            },
          },
        },
        problems: ['not-found', 'conflict'],
      },
      async (ctx, { params }) =>
        reply(200, await startAuthorization(ctx, params.credential), { 'cache-control': 'no-store' }),
    ),
    operation(
      {
        operationId: 'listCredentialUsage',
        method: 'get',
        path: '/{credential}/usage',
        summary: 'List what a credential was used for',
        access: 'credentials:read',
        params,
        query: z.object(pageQuery),
        responses: {
          200: {
            description: 'Newest first. Kept for CREDENTIAL_USAGE_DAYS, the latest 10,000 at most.',
            schema: pageOf(CredentialUsage).openapi('CredentialUsageList'),
            example: { items: [credentialUsageExample], next_cursor: null },
          },
        },
        problems: ['not-found'],
      },
      async (ctx, { params, query }) => reply(200, await listCredentialUsage(ctx, params.credential, query)),
    ),
  ],
}

/** For the person in the browser that came back. */
async function callbackPage(
  runtime: Runtime,
  query: { state?: string | undefined; code?: string | undefined; error?: string | undefined },
): Promise<Reply> {
  try {
    const name = await completeAuthorization(runtime, query)
    return page(200, 'Connected', `“${name}” may be used now. You can close this page.`)
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    const status = error.kind === 'not-found' ? 404 : error.kind === 'upstream-failed' ? 502 : 409
    return page(status, 'Not connected', error.detail)
  }
}

const page = (status: number, title: string, text: string): Reply => ({
  status,
  contentType: 'text/html; charset=utf-8',
  headers: {
    'content-security-policy': "default-src 'none'; base-uri 'none'; frame-ancestors 'none'",
    // The address holds the code: it must not travel on, or be kept.
    'referrer-policy': 'no-referrer',
    'cache-control': 'no-store',
    'x-robots-tag': 'noindex, nofollow',
  },
  body: `<!doctype html><html lang="en"><meta charset="utf-8"><title>${title}</title><h1>${title}</h1><p>${escapeHtml(text)}</p></html>`,
})
