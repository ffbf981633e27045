import { sql, type Selectable } from 'kysely'
import type {
  DeliveryAttempt,
  WebhookDeliveriesTable,
  WebhookSubscriptionsTable,
} from '../../db/tables/webhooks.table.ts'
import { entityTag } from '../../lib/etag.ts'
import { hasPrevious } from './secrets.ts'

export type SubscriptionRow = Selectable<WebhookSubscriptionsTable> & { has_previous: boolean }
export const withPrevious = hasPrevious

export interface Subscription {
  id: string
  name: string
  url: string
  events: string[]
  recipe_id: string | null
  active: boolean
  disabled_reason: string | null
  /** Until when the secret before this one signs as well. */
  previous_secret_until: string | null
  failing_since: string | null
  failures: number
  created_at: string
  updated_at: string
}

export function toSubscription(row: SubscriptionRow): Subscription {
  return {
    id: row.id,
    name: row.name,
    url: row.url,
    events: row.events,
    recipe_id: row.recipe_id,
    active: row.active,
    disabled_reason: row.disabled_reason,
    previous_secret_until: row.has_previous ? row.previous_until!.toISOString() : null,
    failing_since: row.failing_since?.toISOString() ?? null,
    failures: row.failures,
    created_at: row.created_at.toISOString(),
    updated_at: row.updated_at.toISOString(),
  }
}

/** How its receiver fares makes no edit stale. */
export const subscriptionTag = ({
  failing_since,
  failures,
  previous_secret_until,
  ...settings
}: Subscription): string => entityTag(settings, { failing_since, failures, previous_secret_until })

export interface Delivery {
  id: string
  subscription_id: string
  event_type: string
  execution_id: string | null
  status: 'pending' | 'delivered' | 'failed'
  attempts: number
  next_attempt_at: string | null
  log: DeliveryAttempt[]
  created_at: string
  finished_at: string | null
}

export const toDelivery = (row: Selectable<WebhookDeliveriesTable>): Delivery => ({
  id: row.id,
  subscription_id: row.subscription_id,
  event_type: row.event_type,
  execution_id: row.run_id,
  status: row.status,
  attempts: row.attempts,
  next_attempt_at: row.next_attempt_at?.toISOString() ?? null,
  log: row.log,
  created_at: row.created_at.toISOString(),
  finished_at: row.finished_at?.toISOString() ?? null,
})

export const appNow = sql<Date>`app_now()`
