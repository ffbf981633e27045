import { sql } from 'kysely'
import type { Runtime, TickReport } from '../../context.ts'

const batchSize = 500
/** Longer than any window but the endless: a budget may be put back into one that it had. */
const keptDays = 32

/** Forgets what was told of windows that are over. In the running window it is what keeps it from being told again. */
export async function expireAlerts({ db }: Pick<Runtime, 'db'>): Promise<TickReport> {
  const { numAffectedRows } = await sql`
    delete from budget_alerts where (budget_id, window_start, type, threshold) in (
      select a.budget_id, a.window_start, a.type, a.threshold from budget_alerts a
      where a.told_at is not null and a.window_start <= app_now() - ${keptDays}::integer * interval '1 day'
        and not exists (select from budgets b where b.id = a.budget_id and b.window_start = a.window_start)
      order by a.window_start limit ${batchSize}::integer
      for update skip locked)`.execute(db)
  const done = Number(numAffectedRows ?? 0)
  return { done, more: done >= batchSize }
}
