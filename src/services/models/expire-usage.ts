import { sql } from 'kysely'
import type { Runtime, TickReport } from '../../context.ts'
import { countedDelete, retentionBatch } from '../retention/figures.ts'
import { foundBy, lookForDue, type Conditional } from '../retention/looks.ts'

/**
 * What the views of a run tell of its calls is there as long as the run is. Budgets have counters of their own; one that is
 * set or changed adds up the calls of its window, which is a month at most and always kept.
 */
const old: Conditional = {
  table: 'model_usage',
  time: 'created_at',
  field: 'model_usage_days',
  goes: sql`not exists (select from runs r where r.id = x.run_id)`,
  most: retentionBatch,
}

/** Deletes what model calls of old have used and cost. Looks at `looked` rows of a workspace at most. */
export async function expireUsage(
  { db, config }: Pick<Runtime, 'db' | 'config'>,
  looked?: number,
): Promise<TickReport> {
  const due = await lookForDue(db, config, old, looked)
  if (due.length === 0) return { done: 0, more: false }
  const done = await countedDelete(db, 'model_usage', {
    // Nobody writes to a row that is there, so none has to be locked before: they go in the order in which they lie.
    deleting: sql`
      delete from model_usage
      where ctid = any(array(${foundBy(old, due, sql`x.ctid`, { locked: false })}))
      returning workspace_id`,
  })
  return { done, more: done > 0 }
}
