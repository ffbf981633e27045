import type { ServiceContext } from '../../context.ts'
import { AppError } from '../../lib/errors.ts'
import { readCursor, toPage, type Page, type PageRequest } from '../../lib/pagination.ts'
import { describeSlot } from '../../lib/slots/describe.ts'
import { mergeSlots, type MergedSlot, type SlotSource } from '../../lib/slots/merge.ts'
import { latestInstant } from '../../lib/time-range.ts'
import { recipeIdOf } from './read-schedules.ts'
import { databaseNow, fireTime, specOf } from './timing.ts'
import type { SlotPreview } from './types.ts'

const dayMs = 86_400_000
const maxWindowMs = 366 * dayMs
/** Schedules that one request looks at. */
const maxSchedules = 5000

export interface UpcomingSlot extends SlotPreview {
  /** The slot and its jitter. */
  fires_at: string
  schedule_id: string
  schedule_name: string
  recipe_id: string
  timezone: string
}

interface Source extends SlotSource {
  name: string
  recipeId: string
  jitterSeconds: number
}

/** The coming slots of all schedules that are neither paused nor parked, in the order of their times. */
export async function listUpcoming(
  ctx: Pick<ServiceContext, 'db' | 'actor'>,
  query: PageRequest & { recipe_id?: string | undefined; from?: string | undefined; to?: string | undefined },
): Promise<Page<UpcomingSlot>> {
  const now = await databaseNow(ctx.db)
  const from = new Date(Math.max(now.getTime(), query.from === undefined ? 0 : Date.parse(query.from)))
  const to = new Date(query.to === undefined ? Math.min(from.getTime() + dayMs, latestInstant) : query.to)
  const refuse = (pointer: string, detail: string): never => {
    throw new AppError('invalid', 'The window cannot be read.', { errors: [{ pointer, detail }] })
  }
  if (to <= from) refuse('/query/to', 'must be later than from, and than now')
  if (to.getTime() - from.getTime() > maxWindowMs) refuse('/query/to', 'must be at most 366 days after from')
  const last = readCursor(query.cursor)
  const start = last && last.createdAt > from ? last.createdAt : from

  let due = ctx.db
    .selectFrom('schedules')
    .select(['id', 'name', 'recipe_id', 'cron', 'interval_s', 'anchor_at', 'timezone', 'dst', 'start_at', 'end_at'])
    .select(['jitter_s', 'accounted_until', 'next_slot_at'])
    .where('workspace_id', '=', ctx.actor.workspaceId)
    .where('next_fire_at', 'is not', null)
    .where('next_slot_at', '<', to)
  if (query.recipe_id !== undefined) due = due.where('recipe_id', '=', await recipeIdOf(ctx, query.recipe_id))
  const rows = await due
    .orderBy('next_slot_at')
    .limit(maxSchedules + 1)
    .execute()
  if (rows.length > maxSchedules)
    refuse('/query/to', `has more than ${maxSchedules} schedules before it: give a shorter window, or a recipe_id`)

  const sources = rows.map((row): Source => {
    // The instant that the last page ended at may have further slots, of schedules behind the last one.
    const after = new Date(Math.max(start.getTime() - 1, row.accounted_until.getTime()))
    const notBefore = new Date(Math.max(after.getTime() + 1, row.next_slot_at?.getTime() ?? 0))
    const { id, name, recipe_id: recipeId, jitter_s: jitterSeconds } = row
    return { id, name, recipeId, jitterSeconds, spec: specOf(row), after, notBefore }
  })
  const found: MergedSlot<Source>[] = []
  for (const slot of mergeSlots(sources, to)) {
    if (last && slot.at.getTime() === last.createdAt.getTime() && slot.source.id <= last.id) continue
    found.push(slot)
    if (found.length > query.limit) break
  }
  return toPage(found, query.limit, ({ at, source }) => ({ createdAt: at, id: source.id }), toUpcoming)
}

function toUpcoming({ at, source }: MergedSlot<Source>): UpcomingSlot {
  const { local, dstDay, dst } = describeSlot(source.spec, at)
  return {
    slot_at: at.toISOString(),
    fires_at: fireTime(source.id, at, source.jitterSeconds).toISOString(),
    local,
    dst_day: dstDay,
    dst,
    schedule_id: source.id,
    schedule_name: source.name,
    recipe_id: source.recipeId,
    timezone: source.spec.zone,
  }
}
