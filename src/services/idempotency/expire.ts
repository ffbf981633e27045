import { sql } from 'kysely'
import type { Runtime, TickReport } from '../../context.ts'
import { keptHours } from '../../lib/idempotency-key.ts'

const batchSize = 500

/**
 * Forgets keys that have had their day, of answers and of runs. A run that is being written to waits for a later pass. Keys
 * with a tilde are the engine's own and stay.
 */
export async function forgetKeys({ db }: Pick<Runtime, 'db'>): Promise<TickReport> {
  const old = sql`app_now() - ${keptHours}::integer * interval '1 hour'`
  const answers = await sql`
    delete from idempotency_keys where (workspace_id, operation, key) in (
      select workspace_id, operation, key from idempotency_keys where created_at <= ${old}
      order by created_at limit ${batchSize}::integer for update skip locked)`.execute(db)
  const runs = await sql`
    update runs set idempotency_key = null, request_hash = null where id in (
      select id from runs where idempotency_key is not null and created_at <= ${old} and idempotency_key not like '~%'
      order by created_at limit ${batchSize}::integer for update skip locked)`.execute(db)
  const [forgotten, freed] = [Number(answers.numAffectedRows ?? 0), Number(runs.numAffectedRows ?? 0)]
  return { done: forgotten + freed, more: forgotten >= batchSize || freed >= batchSize }
}
