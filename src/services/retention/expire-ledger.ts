import { sql } from 'kysely'
import type { Runtime, ServiceContext, TickReport } from '../../context.ts'
import { countedDelete, retentionBatch } from './figures.ts'
import { effectiveDays } from './policy.ts'

/**
 * Deletes old slots of the ledger and old alerts. What waits for its run or its delivery is kept; so is the ledger of a
 * schedule with a backfill under way, which fires what it does not find there.
 */
export async function expireLedger({ db, config }: Pick<Runtime, 'db' | 'config'>): Promise<TickReport> {
  const old = sql`app_now() - ${effectiveDays('schedule_slots_days', config)} * interval '1 day'`
  const slots = await countedDelete(db, 'schedule_slots', {
    deleting: sql`
      delete from schedule_slots where (schedule_id, slot_at) in (
        select s.schedule_id, s.slot_at from workspaces w
        left join retention_policies p on p.workspace_id = w.id
        cross join lateral (
          select schedule_id, slot_at from schedule_slots s
          where s.workspace_id = w.id and s.slot_at <= ${old} and coalesce(s.slot_to, s.slot_at) <= ${old}
            and s.status <> 'pending'
            and not exists (select from schedule_backfills b
              where b.schedule_id = s.schedule_id and b.state in ('running', 'canceling'))
          order by s.slot_at, s.schedule_id limit ${retentionBatch}::integer
          for update skip locked
        ) s
        limit ${retentionBatch}::integer)
      returning workspace_id`,
  })
  const alerts = await countedDelete(db, 'schedule_slots', {
    deleting: sql`
      delete from schedule_events where id in (
        select e.id from workspaces w
        left join retention_policies p on p.workspace_id = w.id
        cross join lateral (
          select id from schedule_events e
          where e.workspace_id = w.id and e.created_at <= ${old} and e.delivery <> 'pending'
          order by e.created_at, e.id limit ${retentionBatch}::integer
          for update skip locked
        ) e
        limit ${retentionBatch}::integer)
      returning workspace_id`,
  })
  return { done: slots + alerts, more: slots >= retentionBatch || alerts >= retentionBatch }
}

/** Before this the ledger may have gaps that are no missing slots: nothing is filled in there. Null: it is kept for ever. */
export async function ledgerBegins({
  db,
  config,
  actor,
}: Pick<ServiceContext, 'db' | 'config' | 'actor'>): Promise<Date | null> {
  const { rows } = await sql<{ begins: Date | null }>`
    select greatest(p.ledger_begins,
      app_now() - ${effectiveDays('schedule_slots_days', config)} * interval '1 day') as begins
    from (select 1) as one left join retention_policies p on p.workspace_id = ${actor.workspaceId}`.execute(db)
  return rows[0]?.begins ?? null
}
