import { sql, type Kysely, type RawBuilder } from 'kysely'
import type { Database } from '../../db/database.ts'
import type { Call } from './reserve.ts'

/**
 * Replaces what was reserved for a call by what it has cost, in one statement; null: that is not known, and it counts as what
 * was reserved. What nobody told in time is corrected. Told twice, it counts once.
 */
export async function settle(
  db: Kysely<Database>,
  { key, attempt }: Call,
  cost: string | null,
  unpriced: boolean,
): Promise<void> {
  await sql`
    with found as (
      select workspace_id, budgets from budget_reservations where call_key = ${key} and attempt = ${attempt}::integer
    ), locked as materialized (
      select id, window_start from budgets b
      where b.workspace_id = (select workspace_id from found) and b.id = any(array(select unnest(budgets) from found))
      order by b.level, b.id for update
    ), gone as (
      delete from budget_reservations
      where call_key = ${key} and attempt = ${attempt}::integer and (select count(*) from locked) >= 0
      returning amount, state, budgets, windows
    ), lines as (
      select u.id,
        coalesce(${cost}::text::numeric, g.amount) - case g.state when 'lapsed' then g.amount else 0 end as spent,
        case g.state when 'open' then g.amount else 0 end as freed,
        case g.state when 'open' then 1 else 0 end as calls,
        ${unpriced ? 1 : 0}::integer as unpriced
      from gone g cross join unnest(g.budgets, g.windows) as u(id, window_start)
      join locked l on l.id = u.id and l.window_start = u.window_start
    ), ${counted}, ${crossed}
    select 1`.execute(db)
}

/** Reservations of one pass. */
export const lapseBatch = 200
/** How long a call whose end was not told in time may still correct what it counts for. */
const keptDays = 7

/** What nobody has told the end of counts as spent from its time on: the process is gone, and what the call has cost is not known. */
export async function lapseReservations(db: Kysely<Database>): Promise<number> {
  const { rows } = await sql<{ lapsed: number }>`
    with due as materialized (
      select call_key, attempt, budgets from budget_reservations
      where state = 'open' and expires_at <= app_now() order by expires_at limit ${lapseBatch}::integer
    ), locked as materialized (
      select id, window_start from budgets b where b.id = any(array(select unnest(budgets) from due))
      order by b.level, b.id for update
    ), gone as (
      update budget_reservations r set state = 'lapsed', expires_at = app_now() + ${keptDays}::integer * interval '1 day'
      from due d
      where r.call_key = d.call_key and r.attempt = d.attempt and r.state = 'open' and r.expires_at <= app_now()
        and (select count(*) from locked) >= 0
      returning r.amount, r.budgets, r.windows
    ), lines as (
      select u.id, sum(g.amount) as spent, sum(g.amount) as freed, count(*)::integer as calls,
        0 as unpriced
      from gone g cross join unnest(g.budgets, g.windows) as u(id, window_start)
      join locked l on l.id = u.id and l.window_start = u.window_start
      group by u.id
    ), ${counted}, ${crossed}
    select count(*)::integer as lapsed from gone`.execute(db)
  return rows[0]!.lapsed
}

/** Forgets calls that were never told of. Answers how many. */
export async function forgetLapsed(db: Kysely<Database>): Promise<number> {
  const gone = await sql`
    delete from budget_reservations where (call_key, attempt) in (
      select call_key, attempt from budget_reservations
      where state = 'lapsed' and expires_at <= app_now() order by expires_at limit ${lapseBatch}::integer
      for update skip locked
    )`.execute(db)
  return Number(gone.numAffectedRows ?? 0)
}

/**
 * A line of another window than the running one changes nothing any more. Lines are compared with the rows as they were when
 * they were locked: this statement may have waited for a change of the window, which what it reads otherwise is older than.
 */
const counted = sql`counted as (
  update budgets b set spent = b.spent + l.spent, reserved = b.reserved - l.freed, calls = b.calls + l.calls,
    unpriced = b.unpriced + l.unpriced
  from lines l where b.id = l.id
  returning b.id, b.workspace_id, b.level, b.window_start, b.thresholds, b.limit_usd, b.spent, b.spent - l.spent as before
)`

/** What the spending of `counted` has come to and is to be told of: once in a window, whatever is corrected in it. */
export const crossed: RawBuilder<unknown> = sql`crossed as (
  insert into budget_alerts (budget_id, window_start, threshold, type, workspace_id, spent_usd, limit_usd)
  select c.id, c.window_start, t.threshold, t.type, c.workspace_id, c.spent, c.limit_usd
  from counted c cross join lateral (
    select value::integer as threshold, 'budget.threshold_reached' as type from jsonb_array_elements_text(c.thresholds)
    union all select 100, 'budget.exceeded'
  ) t
  where c.level < 4 and c.spent * 100 >= c.limit_usd * t.threshold and c.before * 100 < c.limit_usd * t.threshold
  on conflict do nothing
  returning 1
)`
