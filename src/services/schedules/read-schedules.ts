import type { ServiceContext } from '../../context.ts'
import { newestFirst } from '../../db/keyset.ts'
import { AppError } from '../../lib/errors.ts'
import { isUuid } from '../../lib/ids.ts'
import { byCreation, readCursor, toPage, type Page, type PageRequest } from '../../lib/pagination.ts'
import { slugPattern } from '../recipes/definition.ts'
import { findSchedule } from './store.ts'
import { databaseNow } from './timing.ts'
import type { ScheduleView, SlotView } from './types.ts'
import { toScheduleView, toSlotView } from './view.ts'

type Context = Pick<ServiceContext, 'db' | 'actor'>

export async function getSchedule(ctx: Context, { id }: { id: string }): Promise<ScheduleView> {
  return toScheduleView(await findSchedule(ctx.db, ctx, id), await databaseNow(ctx.db))
}

export async function listSchedules(
  ctx: Context,
  { recipe_id, ...page }: PageRequest & { recipe_id?: string | undefined },
): Promise<Page<ScheduleView>> {
  const all = ctx.db.selectFrom('schedules').selectAll().where('workspace_id', '=', ctx.actor.workspaceId)
  let query = newestFirst(all, page)
  if (recipe_id !== undefined) query = query.where('recipe_id', '=', await recipeIdOf(ctx, recipe_id))
  const rows = await query.execute()
  const now = await databaseNow(ctx.db)
  return toPage(rows, page.limit, byCreation, (row) => toScheduleView(row, now))
}

/** The slot ledger, newest first. */
export async function listSlots(
  ctx: Context,
  { id, limit, cursor }: PageRequest & { id: string },
): Promise<Page<SlotView>> {
  const schedule = await findSchedule(ctx.db, ctx, id)
  const after = readCursor(cursor ?? undefined)
  let query = ctx.db
    .selectFrom('schedule_slots')
    .selectAll()
    .where('schedule_id', '=', schedule.id)
    .where('workspace_id', '=', ctx.actor.workspaceId)
  if (after) query = query.where('slot_at', '<', after.createdAt)
  const rows = await query
    .orderBy('slot_at', 'desc')
    .limit(limit + 1)
    .execute()
  return toPage(rows, limit, (row) => ({ createdAt: row.slot_at, id: row.schedule_id }), toSlotView)
}

/** The id of a recipe of the workspace, named by id or slug. */
export async function recipeIdOf(
  { db, actor }: Pick<ServiceContext, 'db' | 'actor'>,
  idOrSlug: string,
): Promise<string> {
  const unknown = new AppError('not-found', `Recipe ${idOrSlug} does not exist.`)
  // Anything else names no recipe, and may hold what the database refuses to compare with.
  if (!isUuid(idOrSlug) && !slugPattern.test(idOrSlug)) throw unknown
  const recipe = await db
    .selectFrom('workflow_recipes')
    .select('id')
    .where('workspace_id', '=', actor.workspaceId)
    .where(isUuid(idOrSlug) ? 'id' : 'slug', '=', idOrSlug)
    .where('deleted_at', 'is', null)
    .executeTakeFirst()
  if (!recipe) throw unknown
  return recipe.id
}
