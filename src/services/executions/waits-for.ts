import { sql } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { RunState } from '../../db/tables/runs.table.ts'

/** What keeps an execution from going on that could otherwise. */
export type WaitsFor =
  | {
      reason: 'concurrency'
      /** What the limit counts over. */
      scope: 'key' | 'recipe' | 'workspace'
      key: string | null
      limit: number
      /** In the line for a slot; 1 is next. */
      place: number
      /** Executions that have the slots, the first of them. */
      held_by: string[]
    }
  | { reason: 'debounce' | 'throttle'; until: string }
  | { reason: 'workspace_paused' }
  /** A budget is spent, or all that is left of it reserved. */
  | { reason: 'budget'; budget_id: string; until: string | null }

const mostNamed = 10

/** Null where nothing but workers is waited for. */
export async function waitsFor(
  { db, actor }: Pick<ServiceContext, 'db' | 'actor'>,
  run: { id: string; state: RunState },
): Promise<WaitsFor | null> {
  if (run.state === 'waiting') return waitsForBudget(db, run.id)
  if (run.state !== 'queued' && run.state !== 'blocked') return null
  const { rows } = await sql<Row>`
    select h.reason, h.until, s.scope, s.key, size_of_slot(s) as "limit",
      (select count(*)::integer + 1 from held_runs o where o.line = h.line and o.reason = 'slot'
        and (o.priority > h.priority or o.priority = h.priority and (o.since, o.run_id) < (h.since, h.run_id))) as place,
      (select coalesce(jsonb_agg(run_id), '[]') from (
        select run_id from run_slots o where o.counter = h.line and o.state = 'held' order by run_id limit ${mostNamed}::integer
      ) holders) as held_by,
      exists (select from workspace_pauses p where p.workspace_id = ${actor.workspaceId}) as paused
    from (select ${run.id}::uuid as id) r
    left join held_runs h on h.run_id = r.id
    left join run_slots s on s.run_id = h.run_id and s.counter = h.line`.execute(db)
  const row = rows[0]!
  switch (row.reason) {
    case 'slot': {
      const { scope, key, limit, place, held_by } = row
      return { reason: 'concurrency', scope, key, limit, place, held_by }
    }
    case 'debounce':
    case 'throttle':
      return { reason: row.reason, until: row.until!.toISOString() }
    default:
      return row.paused ? { reason: 'workspace_paused' } : null
  }
}

/** A step that waits for a budget names it in its row, with the time at which it has room: the run may look before. */
async function waitsForBudget(db: ServiceContext['db'], runId: string): Promise<WaitsFor | null> {
  const { rows } = await sql<{ budget_id: string; wake_at: Date | null }>`
    select s.error ->> 'budget_id' as budget_id, s.wake_at
    from waits w join run_steps s on s.run_id = w.run_id and s.path = w.path
    where w.run_id = ${runId} and s.status = 'waiting' and s.error ->> 'budget_id' is not null
    order by s.wake_at limit 1`.execute(db)
  const row = rows[0]
  return row ? { reason: 'budget', budget_id: row.budget_id, until: row.wake_at?.toISOString() ?? null } : null
}

interface Row {
  reason: 'slot' | 'debounce' | 'throttle' | 'paused' | null
  until: Date | null
  scope: 'key' | 'recipe' | 'workspace'
  key: string | null
  limit: number
  place: number
  held_by: string[]
  paused: boolean
}
