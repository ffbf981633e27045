import { sql, type Kysely } from 'kysely'
import type { Database } from '../../db/database.ts'
import type { BudgetPeriod } from '../../db/tables/budgets.table.ts'
import { windowAt } from './window.ts'

/** A call of a model as its budgets know it. Made again after a crash it has the same key and attempt. */
export interface Call {
  key: string
  attempt: number
}

export interface Reservation extends Call {
  workspaceId: string
  /** Ids of what may have a budget: workspace, key, agent, recipes, workflow, runs. */
  scopes: readonly string[]
  /** How many of them have one of their own for sure: workflows and runs, whose rows are made with their first call. */
  inner: number
  /** What the call costs at most, as exact decimal; null where its price is not known. */
  amount: string | null
  /** Longer than the call can take: after that its outcome counts as unknown. */
  lapsesAfterSeconds: number
}

export type Verdict =
  | { kind: 'reserved' }
  /** Nothing bounds the call. */
  | { kind: 'unbounded' }
  /** Workflows or runs have no row yet. */
  | { kind: 'missing' }
  | { kind: 'refused'; refusal: Refusal }

export interface Refusal {
  /** `busy`: what others have reserved may turn out to be more than they need. */
  reason: 'price_unknown' | 'cost_unknown' | 'exceeded' | 'busy'
  budgetId: string
  limitUsd: string
  /** When there will be room for sure; null: at no known time. */
  until: Date | null
}

interface Row {
  ok: boolean
  id: string | null
  level: number
  limit_usd: string | null
  period: BudgetPeriod
  zone: string
  window_end: Date | null
  turned: boolean
  is_full: boolean
  is_busy: boolean
  is_strange: boolean
  is_unknown: boolean
  now: Date
}

/** Rows whose windows have turned are put into the new ones; nobody's clock is off by so many windows. */
const mostTurns = 5

/**
 * Reserves what a call may cost, in one statement, in all budgets that it counts for, or in none. Their rows are locked from
 * the workspace down to the run, so that no two calls wait for each other. A call is let through while something is left:
 * together, calls go beyond a budget by one reservation at most.
 */
export async function reserve(db: Kysely<Database>, reservation: Reservation): Promise<Verdict> {
  for (let turn = 0; ; turn++) {
    const rows = await tryReserve(db, reservation)
    const budgets = rows.filter((row) => row.id !== null)
    if (rows[0]!.ok) return { kind: budgets.length === 0 ? 'unbounded' : 'reserved' }
    const turned = budgets.filter((row) => row.turned)
    if (turned.length > 0 && turn < mostTurns) {
      for (const row of turned) await turnWindow(db, row)
      continue
    }
    if (budgets.filter((row) => row.level >= innerLevel).length < reservation.inner) return { kind: 'missing' }
    return { kind: 'refused', refusal: refusalOf(budgets) }
  }
}

/** From here on rows are those of workflows and runs. */
const innerLevel = 4

async function tryReserve(db: Kysely<Database>, reservation: Reservation): Promise<Row[]> {
  const { key, attempt, workspaceId, scopes, inner, amount, lapsesAfterSeconds } = reservation
  const { rows } = await sql<Row>`
    with known as (
      select 1 from budget_reservations where call_key = ${key} and attempt = ${attempt}::integer
    ), locked as materialized (
      select b.id, b.level, b.period, b.zone, b.window_start, b.window_end, b.spent, b.reserved, b.unpriced,
        b.unknown_price, b.window_end <= app_now() is true as turned,
        case when b.level = ${innerLevel}::integer then (select budget_usd from workflows w where w.id = b.scope_id)
          else b.limit_usd end as limit_usd
      from budgets b
      where b.workspace_id = ${workspaceId}::text::uuid and b.scope_id = any(${`{${scopes.join(',')}}`}::text::uuid[])
      order by b.level, b.id
      for update of b
    ), judged as materialized (
      select l.*, limit_usd is not null and spent >= limit_usd as is_full,
        limit_usd is not null and spent < limit_usd and spent + reserved >= limit_usd as is_busy,
        limit_usd is not null and unknown_price = 'refuse' and ${amount === null}::boolean as is_strange,
        limit_usd is not null and level >= ${innerLevel}::integer and unpriced > 0 as is_unknown
      from locked l
    ), verdict as materialized (
      select exists (select from known)
        or not exists (select from judged where turned or is_full or is_busy or is_strange or is_unknown)
        and (select count(*) from judged where level >= ${innerLevel}::integer) >= ${inner}::integer as ok
    ), held as (
      insert into budget_reservations (call_key, attempt, workspace_id, amount, budgets, windows, expires_at)
      select ${key}::text, ${attempt}::integer, ${workspaceId}::text::uuid, ${amount ?? '0'}::text::numeric,
        array(select id from judged), array(select window_start from judged),
        app_now() + ${lapsesAfterSeconds}::double precision * interval '1 second'
      from verdict where ok and exists (select from judged)
      on conflict (call_key, attempt) do nothing
      returning amount
    ), counted as (
      update budgets b set reserved = b.reserved + h.amount from held h, judged j where b.id = j.id
    )
    select v.ok, j.id, j.level, trim_scale(j.limit_usd)::text as limit_usd, j.period, j.zone, j.window_end, j.turned,
      j.is_full, j.is_busy, j.is_strange, j.is_unknown, app_now()::timestamptz(3) as now
    from verdict v left join judged j on true`.execute(db)
  return rows
}

/** Only one of those who find the old window makes the new one. */
async function turnWindow(db: Kysely<Database>, { id, period, zone, window_end, now }: Row): Promise<void> {
  const { start, end } = windowAt(period, zone, now)
  await db
    .updateTable('budgets')
    .set({ window_start: start, window_end: end, spent: '0', reserved: '0', calls: 0, unpriced: 0 })
    .where('id', '=', id)
    .where('window_end', '=', window_end)
    .execute()
}

/** What will not pass by itself comes first, then what takes longest. */
function refusalOf(rows: readonly Row[]): Refusal {
  const of = (reason: Refusal['reason'], row: Row, until: Date | null = null): Refusal => ({
    reason,
    budgetId: row.id!,
    limitUsd: row.limit_usd!,
    until,
  })
  const strange = rows.find((row) => row.is_strange)
  if (strange) return of('price_unknown', strange)
  const unknown = rows.find((row) => row.is_unknown)
  if (unknown) return of('cost_unknown', unknown)
  const full = rows.filter((row) => row.is_full)
  const forever = full.find((row) => row.window_end === null)
  if (forever) return of('exceeded', forever)
  const [longest] = full.toSorted((a, b) => b.window_end!.getTime() - a.window_end!.getTime())
  if (longest) return of('exceeded', longest, longest.window_end)
  return of(
    'busy',
    rows.find((row) => row.is_busy)!,
  )
}
