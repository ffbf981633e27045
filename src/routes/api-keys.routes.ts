import { z } from '@hono/zod-openapi'
import { operation, reply, type RouteGroup } from '../lib/operation.ts'
import { pageOf, pageQuery } from '../lib/pagination.ts'
import { permissions, roles } from '../lib/permissions.ts'
import { instant } from '../lib/time-range.ts'
import { apiKeyTag, createApiKey, getApiKey, listApiKeys, revokeApiKey } from '../services/api-keys.service.ts'

const example = {
  id: '01939f3c-5c2a-7b3e-9d1a-2f6b8c4d5e6f',
  name: 'Deploy pipeline',
  kind: 'server',
  prefix: 'ak_srv_4f1d8a2c',
  scopes: ['recipes:read', 'recipes:execute', 'executions:read'],
  rate_limit: null,
  allowed_domains: [],
  allowed_ips: ['203.0.113.0/24'],
  expires_at: '2027-05-22T08:00:00.000Z',
  last_used_at: null,
  revoked_at: null,
  created_by: 'key:01939f3c-1111-7b3e-9d1a-2f6b8c4d5e6f',
  created_at: '2026-11-22T08:00:00.000Z',
}

const fields = {
  id: z.uuid(),
  name: z.string(),
  kind: z.enum(['server', 'widget']),
  prefix: z.string().openapi({ description: 'The first characters of the key, to recognise it by.' }),
  scopes: z.array(z.string()).openapi({ description: 'Permissions. An empty list grants nothing.' }),
  rate_limit: z.int().nullable().openapi({ description: 'Requests a minute; null = the default.' }),
  allowed_domains: z.array(z.string()),
  allowed_ips: z.array(z.string()).openapi({ description: 'Where the key may be used from; empty = from anywhere.' }),
  expires_at: z.iso.datetime().nullable(),
  last_used_at: z.iso.datetime().nullable().openapi({ description: 'Exact to the minute.' }),
  revoked_at: z.iso.datetime().nullable(),
  created_by: z.string().nullable(),
  created_at: z.iso.datetime(),
}
const ApiKey = z.object(fields).openapi('ApiKey')
const CreatedApiKey = z
  .object({ ...fields, key: z.string().openapi({ description: 'The key itself. It is shown this once.' }) })
  .openapi('CreatedApiKey')

const NewApiKey = z
  .strictObject({
    name: z.string().trim().min(1).max(200),
    kind: z.enum(['server', 'widget']).default('server'),
    scopes: z
      .union([z.array(z.enum(permissions)).max(permissions.length), z.enum(roles)], {
        error: `must be a list of permissions, or one of the roles ${roles.join(', ')}`,
      })
      .default([])
      .openapi({ description: 'Permissions, or the name of a role. A key never holds more than its maker.' }),
    expires_at: instant().optional().openapi({ description: 'Default: never.' }),
    rate_limit: z.int().min(1).max(1_000_000).optional().openapi({ description: 'Requests a minute.' }),
    allowed_domains: z
      .array(z.string().min(1).max(300))
      .max(100)
      .optional()
      .openapi({ description: 'Widget keys: pages that may use it, as host, host:port or *.suffix.' }),
    allowed_ips: z
      .array(z.string().min(1).max(50))
      .max(100)
      .optional()
      .openapi({ description: 'Addresses and CIDR ranges from which it may be used. From elsewhere it answers 403.' }),
  })
  .openapi('NewApiKey')

const params = z.object({ api_key: z.string().openapi({ description: 'Id of the key.' }) })

export const apiKeysRoutes: RouteGroup = {
  prefix: '/api/api-keys',
  tag: 'API keys',
  description: 'Keys of the workspace. A key is shown once, when it is made; only its hash is stored.',
  operations: [
    operation(
      {
        operationId: 'createApiKey',
        method: 'post',
        path: '/',
        summary: 'Make an API key',
        access: 'api-keys:manage',
        idempotent: 'sealed',
        body: NewApiKey,
        bodyExample: {
          name: 'Deploy pipeline',
          kind: 'server',
          scopes: example.scopes,
          expires_at: example.expires_at,
        },
        responses: {
          201: {
            description: 'The key, this once with its text.',
            schema: CreatedApiKey,
            headers: { location: 'The address of the key.' },
            example: { ...example, key: `ak_srv_4f1d8a2c${'0'.repeat(56)}` },
          },
        },
        etag: 'create',
      },
      async (ctx, { body }) => {
        const { key, ...created } = await createApiKey(ctx, {
          name: body.name,
          kind: body.kind,
          scopes: body.scopes,
          expiresAt: body.expires_at === undefined ? undefined : new Date(body.expires_at),
          rateLimit: body.rate_limit,
          allowedDomains: body.allowed_domains,
          allowedIps: body.allowed_ips,
        })
        // The one answer that holds a secret must not stay in any cache.
        return reply(
          201,
          { ...created, key },
          { location: `/api/api-keys/${created.id}`, 'cache-control': 'no-store', etag: apiKeyTag(created) },
        )
      },
    ),
    operation(
      {
        operationId: 'listApiKeys',
        method: 'get',
        path: '/',
        summary: 'List the API keys of the workspace',
        access: 'api-keys:read',
        query: z.object(pageQuery),
        responses: {
          200: {
            description: 'Keys, newest first, revoked and expired ones included.',
            schema: pageOf(ApiKey).openapi('ApiKeyList'),
            example: { items: [example], next_cursor: null },
          },
        },
      },
      async (ctx, { query }) => reply(200, await listApiKeys(ctx, query)),
    ),
    operation(
      {
        operationId: 'getApiKey',
        method: 'get',
        path: '/{api_key}',
        summary: 'Read an API key',
        access: 'api-keys:read',
        params,
        responses: { 200: { description: 'The key without its text.', schema: ApiKey, example } },
        etag: 'read',
        problems: ['not-found'],
      },
      async (ctx, { params }) => {
        const key = await getApiKey(ctx, params.api_key)
        return reply(200, key, { etag: apiKeyTag(key) })
      },
    ),
    operation(
      {
        operationId: 'revokeApiKey',
        method: 'delete',
        path: '/{api_key}',
        summary: 'Revoke an API key',
        description: 'Final. Other processes refuse the key within ten seconds, this one at once.',
        access: 'api-keys:manage',
        params,
        responses: { 204: { description: 'The key is revoked.' } },
        etag: 'change',
        problems: ['not-found'],
      },
      async (ctx, { params: { api_key }, request }) => {
        await revokeApiKey(ctx, api_key, request.headers.get('if-match'))
        return reply(204)
      },
    ),
  ],
}
