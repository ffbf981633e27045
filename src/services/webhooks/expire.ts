import { sql } from 'kysely'
import type { BackgroundService, Runtime, TickReport } from '../../context.ts'
import { forgetKeys } from '../idempotency/expire.ts'

export const logDays = 30
const batchSize = 500

/** Deletes what the logs of webhooks have kept long enough. What still waits to be sent is kept. */
export async function expireLogs({ db }: Pick<Runtime, 'db'>): Promise<TickReport> {
  const old = sql`app_now() - ${logDays}::integer * interval '1 day'`
  const receipts = await sql`
    delete from webhook_receipts where id in (
      select id from webhook_receipts where created_at <= ${old}
      order by created_at limit ${batchSize}::integer for update skip locked)`.execute(db)
  const deliveries = await sql`
    delete from webhook_deliveries where id in (
      select id from webhook_deliveries where created_at <= ${old} and status <> 'pending'
      order by created_at limit ${batchSize}::integer for update skip locked)`.execute(db)
  const [incoming, outgoing] = [Number(receipts.numAffectedRows ?? 0), Number(deliveries.numAffectedRows ?? 0)]
  return { done: incoming + outgoing, more: incoming >= batchSize || outgoing >= batchSize }
}

/** Idempotency keys and logs of webhooks, a bounded batch of each at a time. */
export const expiryService: BackgroundService = {
  name: 'expiry',
  periodMs: 60_000,
  async tick(runtime) {
    const [keys, logs] = [await forgetKeys(runtime), await expireLogs(runtime)]
    return { done: keys.done + logs.done, more: keys.more || logs.more }
  },
}
