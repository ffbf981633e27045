import type { ColumnType, Generated } from 'kysely'
import type { Json, JsonObject } from '../../lib/json.ts'
import type { DefaultedJsonColumn, JsonColumn, NullableJsonColumn } from '../json.ts'

/** How a sender proves itself. */
export type WebhookAuth =
  | { mode: 'signature'; scheme: 'standard'; tolerance: number }
  | {
      mode: 'signature'
      scheme: 'hmac_sha256'
      header: string
      prefix: string
      encoding: 'hex' | 'base64'
      timestamp_header: string | null
      tolerance: number
    }
  | { mode: 'header_token'; header: string }
  | { mode: 'url_token' }

/** Two secrets are valid while one takes the place of the other. Both are sealed. */
interface Secrets {
  secret: string
  previous_secret: string | null
  previous_until: Date | null
}

export interface WebhooksTable extends Secrets {
  id: string
  workspace_id: string
  recipe_id: string
  name: string
  auth: JsonColumn<WebhookAuth>
  filter: string | null
  /** Fields that become the input of the run; null = the body as it is. */
  input: NullableJsonColumn<JsonObject>
  event_id_header: string | null
  /** Requests a minute. */
  rate_limit: number
  max_body_bytes: number
  active: Generated<boolean>
  /** Of its runs; null = what the recipe says. */
  priority: number | null
  /** Whoever made and changed it may read executions: a sender that waits is told the output. */
  tells_output: boolean
  created_at: ColumnType<Date, Date | undefined, never>
  updated_at: Generated<Date>
}

export type WebhookVerdict = 'accepted' | 'filtered' | 'duplicate' | 'rejected'

/** What came in, and what became of it. */
export interface WebhookReceiptsTable {
  id: string
  webhook_id: string
  workspace_id: string
  event_id: string | null
  /** Of a signature that covers the body alone, else null: such an event comes once, whatever id it is given. */
  signature_hash: string | null
  verdict: WebhookVerdict
  reason: string | null
  status: number
  run_id: string | null
  redelivery_of: string | null
  content_type: string | null
  size: number
  /** What a redelivery needs; null of a sender that did not prove itself, and of what is too large to keep. */
  request: NullableJsonColumn<StoredRequest>
  created_at: ColumnType<Date, Date | undefined, never>
}
export interface StoredRequest {
  headers: Record<string, string>
  query: Record<string, string>
  body: Json
}

export interface WebhookSubscriptionsTable extends Secrets {
  id: string
  workspace_id: string
  /** Null = of every recipe. */
  recipe_id: string | null
  name: string
  url: string
  events: JsonColumn<string[]>
  active: Generated<boolean>
  disabled_reason: string | null
  /** Attempts that failed since the last that succeeded. */
  failures: Generated<number>
  failing_since: Date | null
  /** After a failure nothing is sent before. */
  retry_at: Date | null
  created_at: ColumnType<Date, Date | undefined, never>
  updated_at: Generated<Date>
}

export interface WebhookDeliveriesTable {
  /** The `webhook-id`: the same at each attempt. */
  id: string
  subscription_id: string
  workspace_id: string
  event_type: string
  /** One event makes one delivery a subscription. */
  event_key: string
  run_id: string | null
  /** The very text that is signed and sent. */
  body: string
  status: Generated<'pending' | 'delivered' | 'failed'>
  /** Grows with each claim: whoever does not hold the last one writes nothing. */
  attempts: Generated<number>
  /** Attempts since the last time that somebody asked for it; says how long to wait for the next. */
  tries: Generated<number>
  next_attempt_at: ColumnType<Date | null, Date | null | undefined, Date | null>
  /** The last attempts, oldest first. */
  log: DefaultedJsonColumn<DeliveryAttempt[]>
  created_at: ColumnType<Date, Date | undefined, never>
  finished_at: Date | null
}
export interface DeliveryAttempt {
  attempt: number
  at: string
  status: number | null
  error: string | null
  duration_ms: number
}
