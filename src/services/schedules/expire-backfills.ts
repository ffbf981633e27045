import { sql } from 'kysely'
import type { Runtime, TickReport } from '../../context.ts'
import { countedDelete, retentionBatch } from '../retention/figures.ts'
import { dueWorkspaces, sharesOf, type Overdue } from '../retention/overdue.ts'

/** What is under way has no end yet. */
const old: Overdue = {
  table: 'schedule_backfills',
  time: 'finished_at',
  field: 'schedule_slots_days',
  most: retentionBatch,
}

/** Deletes backfills that ended long enough ago: the slots that they filled are in the ledger, and go with it. */
export async function expireBackfills({ db, config }: Pick<Runtime, 'db' | 'config'>): Promise<TickReport> {
  const done = await countedDelete(db, 'schedule_slots', {
    before: sql`${dueWorkspaces(old, config)},`,
    deleting: sql`
      delete from schedule_backfills where id in (${sharesOf(old, sql`x.id`)}) returning workspace_id`,
  })
  return { done, more: done > 0 }
}
