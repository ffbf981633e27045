import { z } from '@hono/zod-openapi'
import { operation, reply, type RouteGroup } from '../lib/operation.ts'
import { pageOf, pageQuery } from '../lib/pagination.ts'
import { permissions } from '../lib/permissions.ts'
import { instant } from '../lib/time-range.ts'
import {
  apiKeyTag,
  createApiKey,
  getApiKey,
  listApiKeys,
  longestOverlapS,
  revokeApiKey,
  rotateApiKey,
  updateApiKey,
} from '../services/api-keys.service.ts'

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
  rotated_at: null,
  previous_valid_until: null,
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
  rotated_at: z.iso.datetime().nullable().openapi({ description: 'When it last got a new text.' }),
  previous_valid_until: z.iso
    .datetime()
    .nullable()
    .openapi({ description: 'Until when the text before the last rotation is good; a time in the past: no more.' }),
  last_used_at: z.iso.datetime().nullable().openapi({ description: 'Exact to the minute.' }),
  revoked_at: z.iso.datetime().nullable(),
  created_by: z.string().nullable(),
  created_at: z.iso.datetime(),
}
const ApiKey = z.object(fields).openapi('ApiKey')
const CreatedApiKey = z
  .object({ ...fields, key: z.string().openapi({ description: 'The key itself. It is shown this once.' }) })
  .openapi('CreatedApiKey')

const name = z.string().trim().min(1).max(200)
const limits = {
  expires_at: instant()
    .nullish()
    .openapi({ description: 'Null = never. Not after the end of the key that makes it, which is the default.' }),
  rate_limit: z.int().min(1).max(1_000_000).nullish().openapi({
    description:
      'Requests a minute; null = the default of the installation, which only the operator and keys with a higher limit of their own may go beyond.',
  }),
  allowed_domains: z
    .array(z.string().min(1).max(300))
    .max(100)
    .optional()
    .openapi({ description: 'Widget keys: pages that may use it, as host, host:port or *.suffix.' }),
  allowed_ips: z.array(z.string().min(1).max(50)).max(100).optional().openapi({
    description:
      'Addresses and CIDR ranges from which it may be used; from elsewhere it answers 403. None = from anywhere, or from where the key may be used that makes it.',
  }),
}

/** A union says of none of its parts what is wrong: whoever mistypes one permission wants to know which. */
function scopesFault(input: unknown): string {
  const known = new Set<unknown>(permissions)
  const unknown = Array.isArray(input) ? input.filter((scope) => typeof scope === 'string' && !known.has(scope)) : []
  if (unknown.length === 0) return 'must be a list of permissions, or the slug of a role'
  return `${unknown.slice(0, 3).join(', ').slice(0, 200)}: no such permission; GET /api/permissions lists them`
}

const NewApiKey = z
  .strictObject({
    name,
    kind: z.enum(['server', 'widget']).default('server'),
    scopes: z
      .union([z.array(z.enum(permissions)).max(permissions.length), z.string().min(1).max(63)], {
        error: ({ input }) => scopesFault(input),
      })
      .default([])
      .openapi({ description: 'Permissions, or the slug of a role. A key never holds more than its maker.' }),
    ...limits,
  })
  .openapi('NewApiKey')
const ApiKeyChanges = z.strictObject({ name: name.optional(), ...limits }).openapi('ApiKeyChanges')
const ApiKeyRotation = z
  .strictObject({
    overlap_seconds: z
      .int()
      .min(0)
      .max(longestOverlapS)
      .default(0)
      .openapi({ description: 'How long the old text stays good.' }),
  })
  .openapi('ApiKeyRotation')

const limitsOf = (body: z.output<typeof ApiKeyChanges>) => ({
  expiresAt: typeof body.expires_at === 'string' ? new Date(body.expires_at) : body.expires_at,
  rateLimit: body.rate_limit,
  allowedDomains: body.allowed_domains,
  allowedIps: body.allowed_ips,
})

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
        problems: ['limit-reached'],
      },
      async (ctx, { body }) => {
        const { key, ...created } = await createApiKey(ctx, {
          name: body.name,
          kind: body.kind,
          scopes: body.scopes,
          ...limitsOf(body),
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
        operationId: 'updateApiKey',
        method: 'patch',
        path: '/{api_key}',
        summary: 'Change an API key',
        description:
          'What is not named stays; scopes are for good. Nobody gives a key more than they have themselves, but anybody with the permission may narrow it.',
        access: 'api-keys:manage',
        params,
        body: ApiKeyChanges,
        bodyExample: { name: 'Deploy pipeline, Frankfurt', allowed_ips: example.allowed_ips },
        responses: { 200: { description: 'The key without its text.', schema: ApiKey, example } },
        etag: 'change',
        problems: ['not-found', 'conflict'],
      },
      async (ctx, { params: { api_key }, body, request }) => {
        const changes = { name: body.name, ...limitsOf(body) }
        const key = await updateApiKey(ctx, api_key, changes, request.headers.get('if-match'))
        return reply(200, key, { etag: apiKeyTag(key) })
      },
    ),
    operation(
      {
        operationId: 'rotateApiKey',
        method: 'post',
        path: '/{api_key}/rotate',
        summary: 'Give an API key a new text',
        description:
          'Id, rights, limits and history stay. The old text stays good for `overlap_seconds`, so that every place that uses the key can change over; another rotation ends it. Takes the rights that the key has; the key of a person is rotated by that person alone.',
        access: 'api-keys:manage',
        own: true,
        idempotent: 'sealed',
        params,
        body: ApiKeyRotation,
        bodyOptional: true,
        bodyExample: { overlap_seconds: 86_400 },
        responses: {
          200: {
            description: 'The key, this once with its new text.',
            schema: CreatedApiKey,
            example: {
              ...example,
              rotated_at: '2026-12-22T08:00:00.000Z',
              previous_valid_until: '2026-12-23T08:00:00.000Z',
              key: `ak_srv_4f1d8a2c${'0'.repeat(56)}`,
            },
          },
        },
        problems: ['not-found', 'conflict'],
      },
      async (ctx, { params: { api_key }, body }) => {
        const { key, ...rotated } = await rotateApiKey(ctx, api_key, { overlapSeconds: body.overlap_seconds })
        return reply(200, { ...rotated, key }, { 'cache-control': 'no-store', etag: apiKeyTag(rotated) })
      },
    ),
    operation(
      {
        operationId: 'revokeApiKey',
        method: 'delete',
        path: '/{api_key}',
        summary: 'Revoke an API key',
        description:
          'Final, and at once: also in other processes, which the database tells in the same commit. One that it cannot reach refuses the key within ten seconds. Open invitations that it has made end too. The key of another person takes what that person holds.',
        access: 'api-keys:manage',
        own: true,
        params,
        query: z.object({
          with_made: z
            .enum(['true', 'false'])
            .default('false')
            .openapi({ description: '`true`: the keys that it has made too, and those that they have made.' }),
        }),
        responses: { 204: { description: 'The key is revoked.' } },
        etag: 'change',
        problems: ['not-found'],
      },
      async (ctx, { params: { api_key }, query, request }) => {
        const ifMatch = request.headers.get('if-match')
        await revokeApiKey(ctx, api_key, { ifMatch, withMade: query.with_made === 'true' })
        return reply(204)
      },
    ),
  ],
}
