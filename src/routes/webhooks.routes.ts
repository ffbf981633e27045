import { z } from '@hono/zod-openapi'
import { operation, reply, type Reply, type RouteGroup } from '../lib/operation.ts'
import { pageOf, pageQuery } from '../lib/pagination.ts'
import {
  createWebhook,
  deleteWebhook,
  getWebhook,
  listReceipts,
  listWebhooks,
  redeliverReceipt,
  rotateWebhookSecret,
  updateWebhook,
  webhookTag,
} from '../services/webhooks.service.ts'
import {
  examples,
  NewWebhook,
  Receipt,
  SecretRotation,
  Webhook,
  WebhookAnswer,
  WebhookChange,
  WebhookWithSecret,
} from './webhooks.schemas.ts'

const params = z.object({ webhook: z.string().openapi({ description: 'Id of the webhook.' }) })
const theWebhook = { description: 'The webhook without its secret.', schema: Webhook, example: examples.webhook }
const theSecret = {
  description: 'The webhook with its secret, which is shown this once, and a command that uses it.',
  schema: WebhookWithSecret,
  example: examples.withSecret,
}
const answer = (webhook: Awaited<ReturnType<typeof getWebhook>>): Reply =>
  reply(200, webhook, { etag: webhookTag(webhook) })
const target = ({ webhook }: { webhook: string }, { headers }: Request) => ({
  id: webhook,
  ifMatch: headers.get('if-match'),
})
/** A secret in an answer belongs into no cache. */
const secretly = { 'cache-control': 'no-store' }

export const webhooksRoutes: RouteGroup = {
  prefix: '/api/webhooks',
  tag: 'Webhooks',
  description: 'Addresses that other services post to, each of which starts a recipe, and the log of what came in.',
  operations: [
    operation(
      {
        operationId: 'createWebhook',
        method: 'post',
        path: '/',
        summary: 'Make an address that starts a recipe',
        description:
          'Needs recipes:execute besides webhooks:write. A workspace can have a hundred. Senders that wait are told the output where whoever makes or changes it may read executions.',
        access: 'webhooks:write',
        body: NewWebhook,
        bodyExample: examples.create,
        responses: { 201: { ...theSecret, headers: { location: 'The address of the webhook in this API.' } } },
        etag: 'create',
        idempotent: 'sealed',
        problems: ['not-found', 'conflict'],
      },
      async (ctx, { body }) => {
        const { secret, curl, ...webhook } = await createWebhook(ctx, body)
        return reply(
          201,
          { ...webhook, secret, curl },
          { location: `/api/webhooks/${webhook.id}`, etag: webhookTag(webhook), ...secretly },
        )
      },
    ),
    operation(
      {
        operationId: 'listWebhooks',
        method: 'get',
        path: '/',
        summary: 'List the webhooks of the workspace',
        access: 'webhooks:read',
        query: z.object(pageQuery),
        responses: {
          200: {
            description: 'Webhooks, newest first, without their secrets.',
            schema: pageOf(Webhook).openapi('WebhookList'),
            example: examples.webhooks,
          },
        },
      },
      async (ctx, { query }) => reply(200, await listWebhooks(ctx, query)),
    ),
    operation(
      {
        operationId: 'getWebhook',
        method: 'get',
        path: '/{webhook}',
        summary: 'Read a webhook',
        access: 'webhooks:read',
        params,
        responses: { 200: theWebhook },
        etag: 'read',
        problems: ['not-found'],
      },
      async (ctx, { params: { webhook } }) => answer(await getWebhook(ctx, webhook)),
    ),
    operation(
      {
        operationId: 'updateWebhook',
        method: 'patch',
        path: '/{webhook}',
        summary: 'Change a webhook',
        description:
          'What is not given stays. `auth` is replaced as a whole. Needs recipes:execute besides webhooks:write.',
        access: 'webhooks:write',
        params,
        body: WebhookChange,
        bodyExample: examples.change,
        responses: { 200: theWebhook },
        etag: 'change',
        problems: ['not-found'],
      },
      async (ctx, { params, body, request }) =>
        answer(await updateWebhook(ctx, { ...body, ...target(params, request) })),
    ),
    operation(
      {
        operationId: 'deleteWebhook',
        method: 'delete',
        path: '/{webhook}',
        summary: 'Delete a webhook and its log',
        description: 'Its executions stay.',
        access: 'webhooks:write',
        params,
        responses: { 204: { description: 'The webhook is gone.' } },
        etag: 'change',
        problems: ['not-found'],
      },
      async (ctx, { params, request }) => {
        await deleteWebhook(ctx, target(params, request))
        return reply(204)
      },
    ),
    operation(
      {
        operationId: 'rotateWebhookSecret',
        method: 'post',
        path: '/{webhook}/rotate-secret',
        summary: 'Give a webhook a new secret',
        description:
          'The old one stays valid for `keep_previous`, so that the sender can change without losing a delivery. Needs recipes:execute besides webhooks:write.',
        access: 'webhooks:write',
        params,
        body: SecretRotation,
        bodyOptional: true,
        bodyExample: examples.rotate,
        responses: { 200: theSecret },
        etag: 'change',
        idempotent: 'sealed',
        problems: ['not-found'],
      },
      async (ctx, { params, body, request }) => {
        const { secret, curl, ...webhook } = await rotateWebhookSecret(ctx, { ...body, ...target(params, request) })
        return reply(200, { ...webhook, secret, curl }, { etag: webhookTag(webhook), ...secretly })
      },
    ),
    operation(
      {
        operationId: 'listWebhookReceipts',
        method: 'get',
        path: '/{webhook}/deliveries',
        summary: 'Read the log of what came in',
        description: 'Kept for 30 days. Refused requests are logged up to twenty a minute.',
        access: 'webhooks:read',
        params,
        query: z.object({
          ...pageQuery,
          verdict: z.enum(['accepted', 'filtered', 'duplicate', 'rejected']).optional(),
        }),
        responses: {
          200: {
            description: 'Deliveries, newest first.',
            schema: pageOf(Receipt).openapi('WebhookReceiptList'),
            example: examples.receipts,
          },
        },
        problems: ['not-found'],
      },
      async (ctx, { params: { webhook }, query }) => reply(200, await listReceipts(ctx, { ...query, id: webhook })),
    ),
    operation(
      {
        operationId: 'redeliverWebhook',
        method: 'post',
        path: '/{webhook}/deliveries/{delivery}/redeliver',
        summary: 'Run a delivery again',
        description:
          'The same request goes through the filter, the mapping and the recipe as they are now. That it came before does not matter. Needs recipes:execute besides webhooks:write.',
        access: 'webhooks:write',
        params: params.extend({ delivery: z.string().openapi({ description: 'Id of the delivery.' }) }),
        responses: {
          202: { description: 'What became of it.', schema: WebhookAnswer, example: examples.accepted },
        },
        idempotent: 'stored',
        problems: ['not-found', 'conflict', 'invalid'],
      },
      async (ctx, { params: { webhook, delivery } }) => {
        const outcome = await redeliverReceipt(ctx, { id: webhook, delivery })
        return reply(202, {
          verdict: outcome.verdict,
          delivery_id: outcome.receiptId,
          execution_id: outcome.runId,
          status: outcome.runId === null ? null : 'queued',
        })
      },
    ),
  ],
}
