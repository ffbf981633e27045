import { z } from '@hono/zod-openapi'
import { operation, reply, type Reply, type RouteGroup } from '../lib/operation.ts'
import { pageOf, pageQuery } from '../lib/pagination.ts'
import {
  createSubscription,
  deleteSubscription,
  eventTypes,
  getDelivery,
  getSubscription,
  listDeliveries,
  listSubscriptions,
  redeliver,
  rotateSubscriptionSecret,
  subscriptionTag,
  testSubscription,
  updateSubscription,
} from '../services/webhook-subscriptions.service.ts'
import { SecretRotation } from './webhooks.schemas.ts'
import {
  Delivery,
  DeliveryWithBody,
  EventTypes,
  examples,
  NewSubscription,
  Subscription,
  SubscriptionChange,
  SubscriptionWithSecret,
} from './webhook-subscriptions.schemas.ts'

const params = z.object({ subscription: z.string().openapi({ description: 'Id of the subscription.' }) })
const deliveryParams = params.extend({ delivery: z.string().openapi({ description: 'Id of the delivery.' }) })
const theSubscription = {
  description: 'The subscription without its secret.',
  schema: Subscription,
  example: examples.subscription,
}
const theSecret = {
  description: 'The subscription with its secret, which is shown this once.',
  schema: SubscriptionWithSecret,
  example: examples.withSecret,
}
const theDelivery = { description: 'The delivery.', schema: Delivery, example: examples.delivery }
const answer = (subscription: Awaited<ReturnType<typeof getSubscription>>): Reply =>
  reply(200, subscription, { etag: subscriptionTag(subscription) })
const target = ({ subscription }: { subscription: string }, { headers }: Request) => ({
  id: subscription,
  ifMatch: headers.get('if-match'),
})
/** A secret in an answer belongs into no cache. */
const secretly = { 'cache-control': 'no-store' }

export const webhookSubscriptionsRoutes: RouteGroup = {
  prefix: '/api/webhooks/subscriptions',
  tag: 'Webhook subscriptions',
  description: 'Who is told of what happens in the workspace: signed messages to addresses, sent until they arrive.',
  operations: [
    operation(
      {
        operationId: 'createWebhookSubscription',
        method: 'post',
        path: '/',
        summary: 'Subscribe an address to events',
        description: 'It is told of executions that are started after it was made.',
        access: 'webhooks:write',
        body: NewSubscription,
        bodyExample: examples.create,
        responses: { 201: { ...theSecret, headers: { location: 'The address of the subscription.' } } },
        etag: 'create',
        idempotent: 'sealed',
        problems: ['not-found', 'conflict'],
      },
      async (ctx, { body }) => {
        const { secret, ...subscription } = await createSubscription(ctx, body)
        return reply(
          201,
          { ...subscription, secret },
          {
            location: `/api/webhooks/subscriptions/${subscription.id}`,
            etag: subscriptionTag(subscription),
            ...secretly,
          },
        )
      },
    ),
    operation(
      {
        operationId: 'listWebhookSubscriptions',
        method: 'get',
        path: '/',
        summary: 'List the subscriptions of the workspace',
        access: 'webhooks:read',
        query: z.object(pageQuery),
        responses: {
          200: {
            description: 'Subscriptions, newest first, without their secrets.',
            schema: pageOf(Subscription).openapi('WebhookSubscriptionList'),
            example: examples.subscriptions,
          },
        },
      },
      async (ctx, { query }) => reply(200, await listSubscriptions(ctx, query)),
    ),
    operation(
      {
        operationId: 'listWebhookEventTypes',
        method: 'get',
        path: '/event-types',
        summary: 'List what can be subscribed to',
        access: 'webhooks:read',
        responses: {
          200: { description: 'Types of events.', schema: EventTypes, example: examples.eventTypes },
        },
      },
      () => reply(200, { items: eventTypes.map((type) => ({ type })) }),
    ),
    operation(
      {
        operationId: 'getWebhookSubscription',
        method: 'get',
        path: '/{subscription}',
        summary: 'Read a subscription',
        access: 'webhooks:read',
        params,
        responses: { 200: theSubscription },
        etag: 'read',
        problems: ['not-found'],
      },
      async (ctx, { params: { subscription } }) => answer(await getSubscription(ctx, subscription)),
    ),
    operation(
      {
        operationId: 'updateWebhookSubscription',
        method: 'patch',
        path: '/{subscription}',
        summary: 'Change a subscription',
        description:
          'What is not given stays. `active: true` switches one on again that had failed for too long, and sends what has waited.',
        access: 'webhooks:write',
        params,
        body: SubscriptionChange,
        bodyExample: examples.change,
        responses: { 200: theSubscription },
        etag: 'change',
        problems: ['not-found'],
      },
      async (ctx, { params, body, request }) =>
        answer(await updateSubscription(ctx, { ...body, ...target(params, request) })),
    ),
    operation(
      {
        operationId: 'deleteWebhookSubscription',
        method: 'delete',
        path: '/{subscription}',
        summary: 'Delete a subscription and its log',
        access: 'webhooks:write',
        params,
        responses: { 204: { description: 'The subscription is gone, and what waited to be sent with it.' } },
        etag: 'change',
        problems: ['not-found'],
      },
      async (ctx, { params, request }) => {
        await deleteSubscription(ctx, target(params, request))
        return reply(204)
      },
    ),
    operation(
      {
        operationId: 'rotateWebhookSubscriptionSecret',
        method: 'post',
        path: '/{subscription}/rotate-secret',
        summary: 'Give a subscription a new secret',
        description:
          'Messages carry the signatures of both for `keep_previous`, so that the receiver can change in between.',
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
        const { secret, ...subscription } = await rotateSubscriptionSecret(ctx, { ...body, ...target(params, request) })
        return reply(200, { ...subscription, secret }, { etag: subscriptionTag(subscription), ...secretly })
      },
    ),
    operation(
      {
        operationId: 'testWebhookSubscription',
        method: 'post',
        path: '/{subscription}/test',
        summary: 'Send a message that says nothing',
        description: 'Of the type `webhook.test`. How it fared is in the log within seconds.',
        access: 'webhooks:write',
        params,
        responses: { 202: theDelivery },
        idempotent: 'stored',
        problems: ['not-found', 'conflict'],
      },
      async (ctx, { params: { subscription } }) => reply(202, await testSubscription(ctx, subscription)),
    ),
    operation(
      {
        operationId: 'listWebhookDeliveries',
        method: 'get',
        path: '/{subscription}/deliveries',
        summary: 'Read the log of what was sent',
        description: 'Kept for 30 days.',
        access: 'webhooks:read',
        params,
        query: z.object({ ...pageQuery, status: z.enum(['pending', 'delivered', 'failed']).optional() }),
        responses: {
          200: {
            description: 'Deliveries, newest first.',
            schema: pageOf(Delivery).openapi('WebhookDeliveryList'),
            example: examples.deliveries,
          },
        },
        problems: ['not-found'],
      },
      async (ctx, { params: { subscription }, query }) =>
        reply(200, await listDeliveries(ctx, { ...query, id: subscription })),
    ),
    operation(
      {
        operationId: 'getWebhookDelivery',
        method: 'get',
        path: '/{subscription}/deliveries/{delivery}',
        summary: 'Read a delivery with what is sent',
        access: 'webhooks:read',
        params: deliveryParams,
        responses: {
          200: {
            description: 'The delivery and its body.',
            schema: DeliveryWithBody,
            example: examples.deliveryWithBody,
          },
        },
        problems: ['not-found'],
      },
      async (ctx, { params: { subscription, delivery } }) =>
        reply(200, await getDelivery(ctx, { id: subscription, delivery })),
    ),
    operation(
      {
        operationId: 'redeliverWebhookDelivery',
        method: 'post',
        path: '/{subscription}/deliveries/{delivery}/redeliver',
        summary: 'Send a delivery again',
        description: 'Under the id that it had, so that a receiver which has it already can tell.',
        access: 'webhooks:write',
        params: deliveryParams,
        responses: { 202: theDelivery },
        idempotent: 'stored',
        problems: ['not-found', 'conflict'],
      },
      async (ctx, { params: { subscription, delivery } }) =>
        reply(202, await redeliver(ctx, { id: subscription, delivery })),
    ),
  ],
}
