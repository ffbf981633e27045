import { sql, type SqlBool } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import { AppError } from '../../lib/errors.ts'
import { readCursor, toPage, type Page, type PageRequest } from '../../lib/pagination.ts'
import { recipeIdOf } from './read-schedules.ts'
import { findSchedule } from './store.ts'
import type { SlotStatus, SlotView } from './types.ts'
import { toSlotView } from './view.ts'

type Context = Pick<ServiceContext, 'db' | 'actor'>

/** `late` is no status of its own: a slot that fired late has fired. */
export const slotStates = ['fired', 'skipped', 'missed', 'coalesced', 'pending', 'late'] as const
export type SlotState = (typeof slotStates)[number]

export interface LedgerQuery extends PageRequest {
  schedule_id?: string | undefined
  recipe_id?: string | undefined
  /** Any of them. */
  states?: readonly SlotState[] | undefined
  reason?: string | undefined
  from?: string | undefined
  to?: string | undefined
}

export interface LedgerSlot extends SlotView {
  schedule_id: string
  schedule_name: string
  recipe_id: string
}

/**
 * The ledger of all schedules of the workspace, newest first. A range is where its first slot is; one that reaches into
 * the window from before stands at the end.
 */
export async function listLedger(ctx: Context, query: LedgerQuery): Promise<Page<LedgerSlot>> {
  const [from, to] = [query.from, query.to].map((text) => (text === undefined ? null : new Date(text)))
  if (from && to && from >= to)
    throw new AppError('invalid', 'The window is empty.', {
      errors: [{ pointer: '/query/to', detail: 'must be later than from' }],
    })
  let all = ctx.db
    .selectFrom('schedule_slots as p')
    .innerJoin('schedules as s', 's.id', 'p.schedule_id')
    .selectAll('p')
    .select(['s.name', 's.recipe_id'])
    .where('p.workspace_id', '=', ctx.actor.workspaceId)
    .where('s.workspace_id', '=', ctx.actor.workspaceId)
  if (query.schedule_id !== undefined)
    all = all.where('p.schedule_id', '=', (await findSchedule(ctx.db, ctx, query.schedule_id)).id)
  if (query.recipe_id !== undefined) all = all.where('s.recipe_id', '=', await recipeIdOf(ctx, query.recipe_id))
  if (query.states) all = all.where(isIn(query.states))
  if (query.reason !== undefined) all = all.where('p.reason', '=', query.reason)
  if (to) all = all.where('p.slot_at', '<', to)
  const after = readCursor(query.cursor)
  if (after)
    all = all.where(
      sql<SqlBool>`(p.slot_at, p.schedule_id) <
        (${after.createdAt.toISOString()}::text::timestamptz, ${after.id}::text::uuid)`,
    )
  const ordered = all.orderBy('p.slot_at', 'desc').orderBy('p.schedule_id', 'desc')
  const rows = await (from ? ordered.where('p.slot_at', '>=', from) : ordered).limit(query.limit + 1).execute()
  // In one condition with the others it would cost the index on the time: all that is older would be read.
  if (from && rows.length <= query.limit) {
    const reaching = ordered.where('p.slot_to', '>=', from).where('p.slot_at', '<', from)
    rows.push(...(await reaching.limit(query.limit + 1 - rows.length).execute()))
  }
  return toPage(
    rows,
    query.limit,
    (row) => ({ createdAt: row.slot_at, id: row.schedule_id }),
    ({ name, recipe_id, ...row }) => ({
      schedule_id: row.schedule_id,
      schedule_name: name,
      recipe_id,
      ...toSlotView(row),
    }),
  )
}

function isIn(states: readonly SlotState[]) {
  const statuses = states.filter((state): state is SlotStatus => state !== 'late')
  // Written as the partial index says it, each status by itself.
  const parts = statuses.map((status) => sql<SqlBool>`p.status = ${sql.lit(status)}`)
  if (states.includes('late')) parts.push(sql<SqlBool>`p.late`)
  return sql<SqlBool>`(${sql.join(parts, sql` or `)})`
}
