import type { Selectable } from 'kysely'
import type {
  WebhookAuth,
  WebhookReceiptsTable,
  WebhooksTable,
  WebhookVerdict,
} from '../../db/tables/webhooks.table.ts'
import { entityTag } from '../../lib/etag.ts'
import type { JsonObject } from '../../lib/json.ts'

export type WebhookRow = Selectable<WebhooksTable> & { has_previous: boolean }

export interface Webhook {
  id: string
  name: string
  recipe_id: string
  /** Where senders post to. Without the token of `url_token`, which is a secret. */
  url: string
  auth: WebhookAuth
  filter: string | null
  input_mapping: JsonObject | null
  event_id_header: string | null
  rate_limit: number
  max_body_bytes: number
  active: boolean
  priority: number | null
  previous_secret_until: string | null
  created_at: string
  updated_at: string
}

export const addressOf = (apiUrl: string, id: string): string =>
  `${apiUrl.replace(/\/$/, '')}/api/webhooks/recipe/${id}`

export const toWebhook = (row: WebhookRow, apiUrl: string): Webhook => ({
  id: row.id,
  name: row.name,
  recipe_id: row.recipe_id,
  url: addressOf(apiUrl, row.id),
  auth: row.auth,
  filter: row.filter,
  input_mapping: row.input,
  event_id_header: row.event_id_header,
  rate_limit: row.rate_limit,
  max_body_bytes: row.max_body_bytes,
  active: row.active,
  priority: row.priority,
  previous_secret_until: row.has_previous ? row.previous_until!.toISOString() : null,
  created_at: row.created_at.toISOString(),
  updated_at: row.updated_at.toISOString(),
})

/** That an old secret has run out makes no edit stale. */
export const webhookTag = ({ previous_secret_until, ...settings }: Webhook): string =>
  entityTag(settings, previous_secret_until)

export interface Receipt {
  id: string
  webhook_id: string
  event_id: string | null
  verdict: WebhookVerdict
  reason: string | null
  status: number
  execution_id: string | null
  redelivery_of: string | null
  content_type: string | null
  size: number
  /** Whether enough of it was kept to deliver it again. */
  redeliverable: boolean
  created_at: string
}

export const toReceipt = (row: Selectable<WebhookReceiptsTable>): Receipt => ({
  id: row.id,
  webhook_id: row.webhook_id,
  event_id: row.event_id,
  verdict: row.verdict,
  reason: row.reason,
  status: row.status,
  execution_id: row.run_id,
  redelivery_of: row.redelivery_of,
  content_type: row.content_type,
  size: row.size,
  redeliverable: row.request !== null,
  created_at: row.created_at.toISOString(),
})
