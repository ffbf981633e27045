import { z } from '@hono/zod-openapi'
import type { Json } from '../lib/json.ts'
import { runStateSchema } from './executions.schemas.ts'

const id = '01939f3c-5c2a-7b3e-9d1a-2f6b8c4d5e6f'
const runId = '01939f40-7e0b-7d21-b1f4-0c9a5e3d7f12'

// Described by hand: the schema of any JSON value contains itself, which the generator of the document cannot follow.
const json: z.ZodType<Json> = z.json().openapi({ type: ['object', 'array', 'string', 'number', 'boolean', 'null'] })
const time = z.iso.datetime()
const headerName = z.string().regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$/, 'must be the name of a header')

const webhook = {
  id,
  name: 'orders',
  recipe_id: '01939f3a-11d0-7c55-8a3e-6b1f0d2c4e8a',
  url: `https://automatos.example/api/webhooks/recipe/${id}`,
  auth: { mode: 'signature', scheme: 'standard', tolerance: 300 },
  filter: "body.type == 'order.paid'",
  input_mapping: { order_id: { $expr: 'body.data.id' }, note: 'Order {{ body.data.id }}' },
  event_id_header: null,
  rate_limit: 60,
  max_body_bytes: 1048576,
  active: true,
  priority: null,
  previous_secret_until: null,
  created_at: '2026-11-22T08:00:00.000Z',
  updated_at: '2026-11-22T08:00:00.000Z',
}
const receipt = {
  id: runId,
  webhook_id: id,
  event_id: 'msg_2b7f',
  verdict: 'accepted',
  reason: null,
  status: 202,
  execution_id: runId,
  redelivery_of: null,
  content_type: 'application/json',
  size: 512,
  redeliverable: true,
  created_at: '2026-11-22T08:00:00.000Z',
}
export const examples = {
  create: {
    recipe_id: 'ship-order',
    name: webhook.name,
    auth: { mode: 'signature' },
    filter: webhook.filter,
    input_mapping: webhook.input_mapping,
  },
  change: { filter: "body.type in ['order.paid', 'order.refunded']", rate_limit: 120 },
  rotate: { keep_previous: '48h' },
  webhook,
  withSecret: {
    ...webhook,
    secret: 'whsec_VGhlIHNlY3JldCBpcyBzaG93biB0aGlzIG9uZSB0aW1lLg==',
    curl: `body='{"hello":"world"}'\ncurl -X POST 'https://automatos.example/api/webhooks/recipe/${id}' …`,
  },
  webhooks: { items: [webhook], next_cursor: null },
  receipts: { items: [receipt], next_cursor: null },
  accepted: { verdict: 'accepted', delivery_id: runId, execution_id: runId, status: 'queued' },
  ended: {
    verdict: 'accepted',
    delivery_id: runId,
    execution_id: runId,
    status: 'succeeded',
    output: { shipped: true },
    error: null,
  },
}

const authSchema = z
  .discriminatedUnion('mode', [
    z.strictObject({
      mode: z.literal('signature'),
      scheme: z.enum(['standard', 'hmac_sha256']).optional().openapi({
        description:
          '`standard`: webhook-id, webhook-timestamp and webhook-signature as Standard Webhooks has them. `hmac_sha256`: one header with the HMAC of the body. Default standard.',
      }),
      header: headerName.optional().openapi({ description: 'Of hmac_sha256. Default X-Hub-Signature-256.' }),
      prefix: z.string().max(50).optional().openapi({
        description: 'What stands before the signature. Default `sha256=` without a `header`, else nothing.',
      }),
      encoding: z.enum(['hex', 'base64']).optional().openapi({ description: 'Of hmac_sha256. Default hex.' }),
      timestamp_header: headerName.nullable().optional().openapi({
        description: 'A header with Unix seconds; then `<timestamp>.<body>` is what is signed. Default none.',
      }),
      tolerance: z.int().min(1).max(86_400).optional().openapi({
        description: 'Seconds that a timestamp may be away. Default 300.',
      }),
    }),
    z.strictObject({
      mode: z.literal('header_token'),
      header: headerName.optional().openapi({ description: 'Default X-Webhook-Token.' }),
    }),
    z.strictObject({ mode: z.literal('url_token') }),
  ])
  .openapi('WebhookAuth', {
    description:
      'How a sender proves itself. A signature is best; a token in a header, or in the address as `?token=`, is for senders that can do no better.',
  })

const settings = {
  name: z.string().trim().min(1).max(100).openapi({ description: 'Default: the slug of the recipe.' }),
  auth: authSchema,
  filter: z.string().min(1).max(10_000).nullable().openapi({
    description:
      'A CEL expression over `body`, `headers`, `query` and `webhook`. What it answers false for starts nothing. Null: everything passes.',
    example: webhook.filter,
  }),
  input_mapping: z
    .record(z.string(), json)
    .nullable()
    .openapi({
      description:
        'The input of the execution: texts are Liquid, `{"$expr"}` is CEL, over the same names as the filter. Null: the body, where it is an object; else `{"body": …}`.',
      type: ['object', 'null'],
    }),
  event_id_header: headerName.nullable().openapi({
    description:
      'Which header names the event, so that one which comes twice has its effect once. Null: webhook-id, X-GitHub-Delivery or Idempotency-Key.',
  }),
  rate_limit: z.int().min(1).max(10_000).openapi({ description: 'Requests a minute. Default 60.' }),
  max_body_bytes: z.int().min(1).max(10_485_760).openapi({ description: 'Default 1 MB.' }),
  active: z.boolean().openapi({ description: 'One that is not answers as if it did not exist. Default true.' }),
  priority: z
    .int()
    .min(-100)
    .max(100)
    .nullable()
    .openapi({ description: 'Of its executions: higher goes first. Null, the default: what the recipe says.' }),
}
const partial = z.strictObject(settings).partial().shape
const secret = z.string().min(16).max(200).openapi({
  description:
    'A secret that the sender has given you. Default: one is made. With the scheme standard: whsec_ and base64.',
})

export const NewWebhook = z
  .strictObject({
    recipe_id: z.string().min(1).max(100).openapi({ description: 'Id or slug of the recipe to run.' }),
    secret: secret.optional(),
    ...partial,
  })
  .openapi('NewWebhook')

export const WebhookChange = z.strictObject(partial).openapi('WebhookChange')

export const SecretRotation = z
  .strictObject({
    secret: secret.optional(),
    keep_previous: z.string().min(1).max(60).optional().openapi({
      description: 'How long the old secret stays valid: a duration of 7 days at most. Default 24h.',
      example: '48h',
    }),
  })
  .openapi('SecretRotation')

export const Webhook = z
  .object({
    id: z.uuid(),
    name: z.string(),
    recipe_id: z.uuid(),
    url: z
      .string()
      .openapi({ description: 'Where senders post to. With `url_token`, append `?token=` and the secret.' }),
    auth: authSchema,
    filter: z.string().nullable(),
    input_mapping: z
      .record(z.string(), json)
      .nullable()
      .openapi({ type: ['object', 'null'] }),
    event_id_header: z.string().nullable(),
    rate_limit: z.int(),
    max_body_bytes: z.int(),
    active: z.boolean(),
    priority: z.int().nullable(),
    previous_secret_until: time
      .nullable()
      .openapi({ description: 'Until then the secret before this one is valid too.' }),
    created_at: time,
    updated_at: time,
  })
  .openapi('Webhook')

export const WebhookWithSecret = Webhook.extend({
  secret: z.string().openapi({ description: 'Shown this once.' }),
  curl: z.string().openapi({ description: 'A command that sends a delivery as it is.' }),
}).openapi('WebhookWithSecret')

export const Receipt = z
  .object({
    id: z.uuid(),
    webhook_id: z.uuid(),
    event_id: z.string().nullable().openapi({ description: 'What the sender called it.' }),
    verdict: z.enum(['accepted', 'filtered', 'duplicate', 'rejected']),
    reason: z.string().nullable(),
    status: z.int().openapi({ description: 'What the sender was answered.' }),
    execution_id: z.uuid().nullable(),
    redelivery_of: z.uuid().nullable(),
    content_type: z.string().nullable(),
    size: z.int().openapi({ description: 'Bytes of the body.' }),
    redeliverable: z.boolean(),
    created_at: time,
  })
  .openapi('WebhookReceipt')

export const WebhookAnswer = z
  .object({
    verdict: z.enum(['accepted', 'filtered', 'duplicate']),
    delivery_id: z.uuid(),
    execution_id: z
      .uuid()
      .nullable()
      .openapi({ description: 'Of a duplicate: the execution that the first one started.' }),
    status: runStateSchema.nullable(),
    debounced: z
      .literal(true)
      .optional()
      .openapi({ description: 'The execution was made by an earlier trigger, and starts with the input of this one.' }),
    output: json.optional().openapi({ description: 'With `Prefer: wait`, once it has ended.' }),
    error: z.looseObject({ kind: z.string(), detail: z.string() }).nullable().optional(),
  })
  .openapi('WebhookAnswer')
