import { sql } from 'kysely'
import type { BackgroundService, Runtime, TickReport } from '../../context.ts'
import { forgetKeys } from '../idempotency/expire.ts'
import { countedDelete, retentionBatch } from '../retention/figures.ts'
import { effectiveDays } from '../retention/policy.ts'

/** Deletes what the logs of webhooks have kept long enough. What still waits to be sent is kept. */
export async function expireLogs({ db, config }: Pick<Runtime, 'db' | 'config'>): Promise<TickReport> {
  const old = sql`app_now() - ${effectiveDays('webhook_logs_days', config)} * interval '1 day'`
  const incoming = await countedDelete(db, 'webhook_logs', {
    deleting: sql`
      delete from webhook_receipts where id in (
        select r.id from webhooks h
        left join retention_policies p on p.workspace_id = h.workspace_id
        cross join lateral (
          select id from webhook_receipts r where r.webhook_id = h.id and r.created_at <= ${old}
          order by r.created_at limit ${retentionBatch}::integer
          for update skip locked
        ) r
        limit ${retentionBatch}::integer)
      returning workspace_id`,
  })
  const outgoing = await countedDelete(db, 'webhook_logs', {
    deleting: sql`
      delete from webhook_deliveries where id in (
        select d.id from webhook_subscriptions s
        left join retention_policies p on p.workspace_id = s.workspace_id
        cross join lateral (
          select id from webhook_deliveries d
          where d.subscription_id = s.id and d.created_at <= ${old} and d.status <> 'pending'
          order by d.created_at limit ${retentionBatch}::integer
          for update skip locked
        ) d
        limit ${retentionBatch}::integer)
      returning workspace_id`,
  })
  return { done: incoming + outgoing, more: incoming >= retentionBatch || outgoing >= retentionBatch }
}

/** Idempotency keys, a bounded batch at a time. */
export const expiryService: BackgroundService = { name: 'expiry', periodMs: 60_000, tick: forgetKeys }
