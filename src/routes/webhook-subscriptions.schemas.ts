import { z } from '@hono/zod-openapi'
import { eventTypes } from '../services/webhook-subscriptions.service.ts'

const id = '01939f3c-5c2a-7b3e-9d1a-2f6b8c4d5e6f'
const deliveryId = '5b0f8a52-7c1e-4b8e-9c57-3f0d5a1c2e44'
const time = z.iso.datetime()

const subscription = {
  id,
  name: 'operations',
  url: 'https://hooks.example.com/automatos',
  events: ['execution.failed', 'execution.timed_out'],
  recipe_id: null,
  active: true,
  disabled_reason: null,
  previous_secret_until: null,
  failing_since: null,
  failures: 0,
  created_at: '2026-11-22T08:00:00.000Z',
  updated_at: '2026-11-22T08:00:00.000Z',
}
const delivery = {
  id: deliveryId,
  subscription_id: id,
  event_type: 'execution.failed',
  execution_id: '01939f40-7e0b-7d21-b1f4-0c9a5e3d7f12',
  status: 'delivered',
  attempts: 2,
  next_attempt_at: null,
  log: [
    {
      attempt: 1,
      at: '2026-11-22T08:00:01.000Z',
      status: 503,
      error: 'The receiver answered 503.',
      duration_ms: 41,
    },
    { attempt: 2, at: '2026-11-22T08:00:06.400Z', status: 204, error: null, duration_ms: 38 },
  ],
  created_at: '2026-11-22T08:00:00.900Z',
  finished_at: '2026-11-22T08:00:06.438Z',
}
export const examples = {
  subscription,
  create: { url: subscription.url, name: subscription.name, events: subscription.events },
  change: { events: ['*'] },
  rotate: { keep_previous: '48h' },
  withSecret: { ...subscription, secret: 'whsec_VGhlIHNlY3JldCBpcyBzaG93biB0aGlzIG9uZSB0aW1lLg==' },
  subscriptions: { items: [subscription], next_cursor: null },
  delivery,
  deliveries: { items: [delivery], next_cursor: null },
  deliveryWithBody: {
    ...delivery,
    body: '{"type":"execution.failed","timestamp":"2026-11-22T08:00:00.812Z","data":{"execution":{"id":"01939f40-7e0b-7d21-b1f4-0c9a5e3d7f12","status":"failed"}}}',
  },
  eventTypes: { items: eventTypes.map((type) => ({ type })) },
}

const settings = {
  name: z.string().trim().min(1).max(100).openapi({ description: 'For people. Default: the host of the address.' }),
  url: z.url().max(2000).openapi({ description: 'Where messages are posted to. Redirects are not followed.' }),
  events: z
    .array(z.string().min(1).max(100))
    .min(1)
    .max(50)
    .openapi({ description: 'Types of events, or `*` for all of them. Default all.', example: subscription.events }),
  recipe_id: z.string().min(1).max(100).nullable().openapi({
    description: 'Id or slug: executions of this recipe alone. Null: of all.',
  }),
  active: z.boolean().openapi({ description: 'What is switched off keeps what waits to be sent. Default true.' }),
}
const partial = z.strictObject(settings).partial().shape

export const NewSubscription = z
  .strictObject({
    ...partial,
    url: settings.url,
    secret: z.string().min(16).max(200).optional().openapi({
      description: 'whsec_ and the base64 of 16 to 64 bytes. Default: one is made.',
    }),
  })
  .openapi('NewWebhookSubscription')

export const SubscriptionChange = z.strictObject(partial).openapi('WebhookSubscriptionChange')

export const Subscription = z
  .object({
    id: z.uuid(),
    name: z.string(),
    url: z.string(),
    events: z.array(z.string()),
    recipe_id: z.uuid().nullable(),
    active: z.boolean(),
    disabled_reason: z.string().nullable().openapi({ description: 'Why it was switched off without being asked.' }),
    previous_secret_until: time
      .nullable()
      .openapi({ description: 'Until then messages are signed with both secrets.' }),
    failing_since: time.nullable(),
    failures: z.int().openapi({ description: 'Attempts that have failed since the last that did not.' }),
    created_at: time,
    updated_at: time,
  })
  .openapi('WebhookSubscription')

export const SubscriptionWithSecret = Subscription.extend({
  secret: z.string().openapi({ description: 'Shown this once.' }),
}).openapi('WebhookSubscriptionWithSecret')

export const Delivery = z
  .object({
    id: z.uuid().openapi({ description: 'The `webhook-id`, the same at each attempt.' }),
    subscription_id: z.uuid(),
    event_type: z.string(),
    execution_id: z.uuid().nullable(),
    status: z.enum(['pending', 'delivered', 'failed']),
    attempts: z.int(),
    next_attempt_at: time.nullable(),
    log: z
      .array(
        z.object({
          attempt: z.int(),
          at: time,
          status: z.int().nullable(),
          error: z.string().nullable(),
          duration_ms: z.int(),
        }),
      )
      .openapi({ description: 'The last twenty attempts, oldest first.' }),
    created_at: time,
    finished_at: time.nullable(),
  })
  .openapi('WebhookDelivery')

export const DeliveryWithBody = Delivery.extend({
  body: z.string().openapi({ description: 'The text that is signed and sent.' }),
}).openapi('WebhookDeliveryWithBody')

export const EventTypes = z.object({ items: z.array(z.object({ type: z.string() })) }).openapi('WebhookEventTypes')
