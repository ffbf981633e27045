import { z } from '@hono/zod-openapi'
import { operation, reply, type RouteGroup } from '../lib/operation.ts'
import { pageOf, pageQuery } from '../lib/pagination.ts'
import {
  deleteUserApiKey,
  getUserApiKey,
  listUserApiKeys,
  putUserApiKey,
  testUserApiKey,
  userApiKeyTag,
} from '../services/user-api-keys.service.ts'
import { CredentialTest, credentialTestExample } from './credentials.schemas.ts'

const example = {
  id: '01939f3c-5c2a-7b3e-9d1a-2f6b8c4d5e71',
  provider: 'openai',
  name: 'OpenAI',
  base_url: null,
  hint: '…4f2a',
  version: 1,
  last_test: credentialTestExample,
  last_used_at: null,
  created_at: '2026-11-22T08:00:00.000Z',
  updated_at: '2026-11-22T08:00:00.000Z',
}
const UserApiKey = z
  .object({
    id: z.uuid(),
    provider: z.string(),
    name: z.string(),
    base_url: z.string().nullable(),
    hint: z.string().openapi({ description: 'The end of the key. The key itself is never shown.' }),
    version: z.int(),
    last_test: CredentialTest.nullable(),
    last_used_at: z.iso.datetime().nullable().openapi({ description: 'Exact to the minute.' }),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .openapi('UserApiKey')
const PutUserApiKey = z
  .strictObject({
    api_key: z.string().min(8).max(1000),
    name: z
      .string()
      .trim()
      .min(1)
      .max(200)
      .optional()
      .openapi({ description: 'For people. Default: of the provider.' }),
    base_url: z
      .url({ protocol: /^https?$/, error: 'must be an http or https URL' })
      .max(2000)
      .optional()
      .openapi({ description: 'Of `openai-compatible` alone: where the server is.' }),
  })
  .openapi('PutUserApiKey')
const params = z.object({
  provider: z
    .string()
    .openapi({ description: '`openai`, `anthropic`, `google`, `openrouter` or `openai-compatible`.' }),
})

export const userApiKeysRoutes: RouteGroup = {
  prefix: '/api/user-api-keys',
  tag: 'User API keys',
  description:
    'Keys of model providers that a workspace brings along. They are tested before they are stored, encrypted, never returned, and come before the keys of the platform, for this workspace alone.',
  operations: [
    operation(
      {
        operationId: 'listUserApiKeys',
        method: 'get',
        path: '/',
        summary: 'List the provider keys of the workspace',
        access: 'credentials:read',
        query: z.object(pageQuery),
        responses: {
          200: {
            description: 'Newest first, without the keys themselves.',
            schema: pageOf(UserApiKey).openapi('UserApiKeyList'),
            example: { items: [example], next_cursor: null },
          },
        },
      },
      async (ctx, { query }) => reply(200, await listUserApiKeys(ctx, query)),
    ),
    operation(
      {
        operationId: 'getUserApiKey',
        method: 'get',
        path: '/{provider}',
        summary: 'Read what is known of a provider key',
        access: 'credentials:read',
        params,
        responses: { 200: { description: 'All but the key itself.', schema: UserApiKey, example } },
        etag: 'read',
        problems: ['not-found'],
      },
      async (ctx, { params }) => {
        const key = await getUserApiKey(ctx, params.provider)
        return reply(200, key, { etag: userApiKeyTag(key) })
      },
    ),
    operation(
      {
        operationId: 'putUserApiKey',
        method: 'put',
        path: '/{provider}',
        summary: 'Store or replace a provider key',
        description: 'Asks the provider with it first, and stores nothing that the provider does not accept.',
        access: 'credentials:manage',
        params,
        body: PutUserApiKey,
        bodyExample: { api_key: 'the-key-of-the-provider' },
        responses: {
          200: { description: 'The key was replaced.', schema: UserApiKey, example: { ...example, version: 2 } },
          201: { description: 'The key was stored.', schema: UserApiKey, example },
        },
        etag: 'change',
        problems: ['not-found', 'conflict', 'upstream-failed'],
      },
      async (ctx, { params: { provider }, body, request }) => {
        const { key, isNew } = await putUserApiKey(ctx, provider, body, request.headers.get('if-match'))
        return reply(isNew ? 201 : 200, key, { etag: userApiKeyTag(key) })
      },
    ),
    operation(
      {
        operationId: 'deleteUserApiKey',
        method: 'delete',
        path: '/{provider}',
        summary: 'Delete a provider key',
        description: 'From the next call on the key of the platform is used, where there is one.',
        access: 'credentials:manage',
        params,
        responses: { 204: { description: 'The key is gone.' } },
        etag: 'change',
        problems: ['not-found'],
      },
      async (ctx, { params: { provider }, request }) => {
        await deleteUserApiKey(ctx, provider, request.headers.get('if-match'))
        return reply(204)
      },
    ),
    operation(
      {
        operationId: 'testUserApiKey',
        method: 'post',
        path: '/{provider}/test',
        summary: 'Ask the provider whether it accepts the key',
        access: 'credentials:manage',
        params,
        responses: {
          200: { description: 'What came of it.', schema: CredentialTest, example: credentialTestExample },
        },
        problems: ['not-found'],
      },
      async (ctx, { params }) => reply(200, await testUserApiKey(ctx, params.provider)),
    ),
  ],
}
