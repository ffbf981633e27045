import { sql, type Kysely, type Transaction } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { jsonb } from '../../db/json.ts'
import type { BudgetPeriod } from '../../db/tables/budgets.table.ts'
import type { RunState } from '../../db/tables/runs.table.ts'
import { isUniqueViolation } from '../../db/unique-violation.ts'
import { AppError } from '../../lib/errors.ts'
import { requireMatch } from '../../lib/etag.ts'
import { isUuid, uuidv7 } from '../../lib/ids.ts'
import type { Json } from '../../lib/json.ts'
import { isZone } from '../../lib/slots/zone.ts'
import { recordAudit, type AuditContext } from '../audit/record.ts'
import { nudged, wakeNudged } from '../runs/nudge.ts'
import { budgetTag, toBudget, withNow, type Budget, type BudgetRow } from './budget.ts'
import { budgetNotFound } from './read.ts'
import { scopeTypes, type ScopeType } from './scope.ts'
import { crossed } from './settle.ts'
import { spentSince } from './spent-since.ts'
import { windowAt } from './window.ts'

type Context = Pick<ServiceContext, 'db' | 'wake'> & AuditContext

export interface BudgetFields {
  limit_usd: string
  window: BudgetPeriod
  zone: string
  thresholds: number[]
  unknown_price: 'refuse' | 'allow'
}
export type NewBudget = BudgetFields & { scope: { type: ScopeType; id?: string | undefined } }
export type BudgetChanges = { [K in keyof BudgetFields]?: BudgetFields[K] | undefined }

/** Each one that a call counts for is a row that it locks. */
const mostBudgets = 1_000

/** It counts from the beginning of its window on: what was spent before it was made is read from the usage that is stored. */
export async function createBudget(ctx: Context, input: NewBudget): Promise<Budget> {
  checkZone(input.zone)
  const { workspaceId } = ctx.actor
  return ctx.db.transaction().execute(async (tx) => {
    const scopeId = await scopeIdOf(tx, workspaceId, input.scope)
    await requireFree(tx, workspaceId)
    const window = windowAt(input.window, input.zone, await nowOf(tx))
    const level = scopeTypes.indexOf(input.scope.type)
    const spent = await spentSince(tx, { workspaceId, type: input.scope.type, id: scopeId }, window)
    const row = await tx
      .insertInto('budgets')
      .values({
        id: uuidv7(),
        workspace_id: workspaceId,
        level,
        scope_id: scopeId,
        limit_usd: input.limit_usd,
        period: input.window,
        zone: input.zone,
        thresholds: jsonb(inOrder(input.thresholds)),
        unknown_price: input.unknown_price,
        window_start: window.start,
        window_end: window.end,
        ...spent,
      })
      .returningAll()
      .returning(withNow)
      .executeTakeFirstOrThrow()
      .catch((error: unknown) => {
        throw isUniqueViolation(error) ? taken() : error
      })
    const budget = toBudget(row)
    await noteCrossings(tx, budget.id)
    await recordAudit(tx, ctx, { action: 'budget.created', target: target(budget), after: settingsOf(budget) })
    return budget
  })
}

/** What is not named stays. With another window it counts anew, from the beginning of that. Who waits for it looks again. */
export async function updateBudget(
  ctx: Context,
  id: string,
  changes: BudgetChanges,
  ifMatch: string | null,
): Promise<Budget> {
  if (changes.zone !== undefined) checkZone(changes.zone)
  let woken: Woken[] = []
  const budget = await ctx.db.transaction().execute(async (tx) => {
    const row = await lockBudget(tx, ctx, id)
    const current = toBudget(row)
    requireMatch(ifMatch, budgetTag(current))
    const next = { ...current, ...defined(changes) }
    next.thresholds = inOrder(next.thresholds)
    const before = settingsOf(current)
    if (JSON.stringify(settingsOf(next)) === JSON.stringify(before)) return current
    const counters = next.window !== current.window || next.zone !== current.zone ? await recount(tx, row, next) : {}
    const updated = await tx
      .updateTable('budgets')
      .set({
        limit_usd: next.limit_usd,
        period: next.window,
        zone: next.zone,
        thresholds: jsonb(next.thresholds),
        unknown_price: next.unknown_price,
        ...counters,
        version: sql<number>`version + 1`,
        updated_at: sql<Date>`app_now()`,
      })
      .where('id', '=', row.id)
      .where('workspace_id', '=', ctx.actor.workspaceId)
      .returningAll()
      .returning(withNow)
      .executeTakeFirstOrThrow()
      .catch((error: unknown) => {
        throw isUniqueViolation(error) ? taken() : error
      })
    const budget = toBudget(updated)
    await noteCrossings(tx, budget.id)
    woken = await nudgeWaiting(tx, row)
    const after = settingsOf(budget)
    await recordAudit(tx, ctx, { action: 'budget.updated', target: target(budget), before, after })
    return budget
  })
  for (const { id: run, state } of woken) wakeNudged(ctx.wake, run, state)
  return budget
}

/** Calls that have reserved in it go on; they count for it no more. */
export async function deleteBudget(ctx: Context, id: string, ifMatch: string | null): Promise<void> {
  const woken = await ctx.db.transaction().execute(async (tx) => {
    const row = await lockBudget(tx, ctx, id)
    const budget = toBudget(row)
    requireMatch(ifMatch, budgetTag(budget))
    await tx.deleteFrom('budgets').where('id', '=', row.id).where('workspace_id', '=', ctx.actor.workspaceId).execute()
    await recordAudit(tx, ctx, { action: 'budget.deleted', target: target(budget), before: settingsOf(budget) })
    return nudgeWaiting(tx, row)
  })
  for (const { id: run, state } of woken) wakeNudged(ctx.wake, run, state)
}

const inOrder = (thresholds: readonly number[]): number[] => [...new Set(thresholds)].toSorted((a, b) => a - b)

const target = ({ id }: Budget) => ({ type: 'budget', id })
const settingsOf = ({ scope, limit_usd, window, zone, thresholds, unknown_price }: Budget) =>
  ({ scope, limit_usd, window, zone, thresholds, unknown_price }) satisfies Json
const taken = () => new AppError('conflict', 'It has a budget with this window already.')

async function lockBudget(tx: Transaction<Database>, { actor }: Context, id: string): Promise<BudgetRow> {
  if (!isUuid(id)) throw budgetNotFound(id)
  const row = await tx
    .selectFrom('budgets')
    .selectAll()
    .select(withNow)
    .where('workspace_id', '=', actor.workspaceId)
    .where('id', '=', id)
    .where('level', '<', 4)
    .forUpdate()
    .executeTakeFirst()
  if (!row) throw budgetNotFound(id)
  return row
}

/** The counters of another window. Calls that are under way, and those whose end was not told, count in it as in the one before. */
async function recount(tx: Transaction<Database>, row: BudgetRow, next: Pick<Budget, 'window' | 'zone' | 'scope'>) {
  const window = windowAt(next.window, next.zone, row.now)
  const spent = await spentSince(tx, { workspaceId: row.workspace_id, ...next.scope }, window)
  const { rows } = await sql<{ open: string; lapsed: string }>`
    with moved as (
      update budget_reservations set windows[array_position(budgets, ${row.id}::text::uuid)] = ${window.start.toISOString()}::text::timestamptz
      where workspace_id = ${row.workspace_id}::text::uuid and ${row.id}::text::uuid = any(budgets)
        and windows[array_position(budgets, ${row.id}::text::uuid)] = ${row.window_start.toISOString()}::text::timestamptz
      returning amount, state
    )
    select coalesce(sum(amount) filter (where state = 'open'), 0)::text as open,
      coalesce(sum(amount) filter (where state = 'lapsed'), 0)::text as lapsed from moved`.execute(tx)
  const { open, lapsed } = rows[0]!
  return {
    window_start: window.start,
    window_end: window.end,
    ...spent,
    spent: sql<string>`${spent.spent}::text::numeric + ${lapsed}::text::numeric`,
    reserved: open,
  }
}

/** What its spending has come to already, with a new limit or new thresholds, is told like what it comes to later. */
async function noteCrossings(tx: Transaction<Database>, id: string): Promise<void> {
  await sql`
    with counted as (
      select id, workspace_id, level, window_start, thresholds, limit_usd, spent, 0::numeric as before
      from budgets where id = ${id}::text::uuid and window_end <= app_now() is not true
    ), ${crossed}
    select 1`.execute(tx)
}

type Woken = { id: string; state: RunState | null }

/**
 * Runs in which anything waits for a budget look again, whatever has become of it: those that have parked, and those in which
 * other branches are at work. They are locked in the order in which checkpoints lock them.
 */
async function nudgeWaiting(tx: Transaction<Database>, { id, workspace_id }: BudgetRow): Promise<Woken[]> {
  const { rows } = await sql<Woken>`
    with waiting as materialized (
      select r.id from runs r
      where r.workspace_id = ${workspace_id}::text::uuid and r.state in ('running', 'waiting') and exists (
        select from run_steps s where s.run_id = r.id and s.status = 'waiting' and s.error ->> 'budget_id' = ${id})
      order by r.id
    )
    select id, ${nudged(sql.ref('waiting.id'))} as state from waiting`.execute(tx)
  return rows
}

async function nowOf(db: Kysely<Database>): Promise<Date> {
  const { rows } = await sql<{ now: Date }>`select app_now()::timestamptz(3) as now`.execute(db)
  return rows[0]!.now
}

function checkZone(zone: string): void {
  if (isZone(zone)) return
  const detail = 'must be an IANA time zone, such as Europe/Berlin'
  throw new AppError('invalid', 'The time zone is not known.', { errors: [{ pointer: '/zone', detail }] })
}

const tables = { key: 'api_keys', agent: 'agents', recipe: 'workflow_recipes' } as const

/** What is another workspace's is told apart from nothing by nobody. */
async function scopeIdOf(
  tx: Transaction<Database>,
  workspaceId: string,
  { type, id }: NewBudget['scope'],
): Promise<string> {
  if (type === 'workspace') {
    if (id === undefined || id === workspaceId) return workspaceId
  } else if (id !== undefined && isUuid(id)) {
    const { rows } = await sql`
      select 1 from ${sql.table(tables[type])} where workspace_id = ${workspaceId}::text::uuid and id = ${id}::text::uuid
    `.execute(tx)
    if (rows.length > 0) return id.toLowerCase()
  }
  const thing = { workspace: '', key: 'a key of ', agent: 'an agent of ', recipe: 'a recipe of ' }[type]
  const detail = `must be the id (a UUID) of ${thing}this workspace`
  throw new AppError('invalid', 'There is nothing that the budget could be for.', {
    errors: [{ pointer: '/scope/id', detail }],
  })
}

async function requireFree(tx: Transaction<Database>, workspaceId: string): Promise<void> {
  // Requests of one workspace take turns, so that they cannot go beyond the limit together.
  await tx.selectFrom('workspaces').select('id').where('id', '=', workspaceId).forNoKeyUpdate().execute()
  const { count } = await tx
    .selectFrom('budgets')
    .select(({ fn }) => fn.countAll<string>().as('count'))
    .where('workspace_id', '=', workspaceId)
    .where('level', '<', 4)
    .executeTakeFirstOrThrow()
  if (Number(count) >= mostBudgets)
    throw new AppError('conflict', `A workspace can have ${mostBudgets} budgets at most.`)
}

const defined = (changes: BudgetChanges): Partial<BudgetFields> =>
  Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== undefined))
