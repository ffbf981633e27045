import { sql, type RawBuilder, type Selectable, type SqlBool } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { ScheduleSlotsTable } from '../../db/tables/schedules.table.ts'
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
  const recipeId = query.recipe_id === undefined ? null : await recipeIdOf(ctx, query.recipe_id)
  const scheduleId = query.schedule_id === undefined ? null : (await findSchedule(ctx.db, ctx, query.schedule_id)).id
  const after = readCursor(query.cursor)
  const where = [
    ...(scheduleId === null ? [] : [sql<SqlBool>`p.schedule_id = ${scheduleId}`]),
    ...(query.states ? [isIn(query.states)] : []),
    ...(query.reason === undefined ? [] : [sql<SqlBool>`p.reason = ${query.reason}`]),
    ...(to ? [sql<SqlBool>`p.slot_at < ${to.toISOString()}::text::timestamptz`] : []),
    ...(after
      ? [
          sql<SqlBool>`(p.slot_at, p.schedule_id) <
            (${after.createdAt.toISOString()}::text::timestamptz, ${after.id}::text::uuid)`,
        ]
      : []),
  ]
  const read = (bounds: RawBuilder<SqlBool>[], limit: number) => readSlots(ctx, recipeId, [...where, ...bounds], limit)
  const start = from && sql`${from.toISOString()}::text::timestamptz`
  const rows = await read(start ? [sql<SqlBool>`p.slot_at >= ${start}`] : [], query.limit + 1)
  // In one condition with the others it would cost the index on the time: all that is older would be read.
  if (start && rows.length <= query.limit) {
    const reaching = [sql<SqlBool>`p.slot_to >= ${start}`, sql<SqlBool>`p.slot_at < ${start}`]
    rows.push(...(await read(reaching, query.limit + 1 - rows.length)))
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

type LedgerRow = Selectable<ScheduleSlotsTable> & { name: string; recipe_id: string }

/**
 * The newest slots that meet the conditions on `p`. They are picked before their schedules are looked up, or schedule by
 * schedule for a recipe, which has few: joined first, all slots of the workspace would be read and sorted.
 */
async function readSlots(
  { db, actor }: Context,
  recipeId: string | null,
  where: RawBuilder<SqlBool>[],
  limit: number,
): Promise<LedgerRow[]> {
  const newest = (of: RawBuilder<SqlBool>) => sql`
    select p.* from schedule_slots p where ${sql.join([of, ...where], sql` and `)}
    order by p.slot_at desc, p.schedule_id desc limit ${limit}`
  const from =
    recipeId === null
      ? sql`(${newest(sql<SqlBool>`p.workspace_id = ${actor.workspaceId}`)}) p join schedules s on s.id = p.schedule_id`
      : sql`schedules s cross join lateral (${newest(sql<SqlBool>`p.schedule_id = s.id`)}) p
          where s.workspace_id = ${actor.workspaceId} and s.recipe_id = ${recipeId}`
  const { rows } = await sql<LedgerRow>`
    select p.*, s.name, s.recipe_id from ${from} order by p.slot_at desc, p.schedule_id desc limit ${limit}`.execute(db)
  return rows
}

function isIn(states: readonly SlotState[]) {
  const statuses = states.filter((state): state is SlotStatus => state !== 'late')
  // Written as the partial index says it, each status by itself.
  const parts = statuses.map((status) => sql<SqlBool>`p.status = ${sql.lit(status)}`)
  if (states.includes('late')) parts.push(sql<SqlBool>`p.late`)
  return sql<SqlBool>`(${sql.join(parts, sql` or `)})`
}
