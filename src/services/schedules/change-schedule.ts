import type { ServiceContext } from '../../context.ts'
import { isUniqueViolation } from '../../db/unique-violation.ts'
import { AppError } from '../../lib/errors.ts'
import { inputFaults, lockRecipe } from './recipe-input.ts'
import { applySettings, type ScheduleSettings } from './settings.ts'
import { changeSchedule, lockSchedule } from './store.ts'
import { databaseNow } from './timing.ts'
import type { ScheduleView } from './types.ts'
import { toScheduleView } from './view.ts'

type Context = Pick<ServiceContext, 'db' | 'actor' | 'wake'>

/** Changes what is given and keeps the rest. */
export async function updateSchedule(
  ctx: Context,
  { id, ...input }: ScheduleSettings & { id: string },
): Promise<ScheduleView> {
  const change = ctx.db.transaction().execute(async (tx) => {
    const row = await lockSchedule(tx, ctx, id)
    const now = await databaseNow(tx)
    const settings = applySettings(row, input, now)
    if (input.input_data !== undefined) {
      const recipe = await lockRecipe(tx, ctx, row.recipe_id)
      const errors = inputFaults(recipe, settings.input, '/input_data')
      if (errors.length > 0) throw new AppError('invalid', 'The schedule has faults.', { errors })
    }
    return toScheduleView(await changeSchedule(tx, row, settings, now), now)
  })
  const view = await change.catch((error: unknown) => {
    if (!isUniqueViolation(error)) throw error
    throw new AppError('conflict', `The recipe has another schedule named ${input.name}.`)
  })
  ctx.wake.schedulesChanged()
  return view
}

/** No slot fires until the schedule is resumed. A run under way goes on. */
export const pauseSchedule = (ctx: Context, { id }: { id: string }): Promise<ScheduleView> =>
  updateSchedule(ctx, { id, paused: true })

/** Slots begin again now; those of the pause are in the ledger as one range. Also takes up a parked schedule again. */
export const resumeSchedule = (ctx: Context, { id }: { id: string }): Promise<ScheduleView> =>
  updateSchedule(ctx, { id, paused: false })

/** Deletes the schedule and its ledger. Its runs stay, those under way included. */
export async function deleteSchedule(ctx: Context, { id }: { id: string }): Promise<void> {
  await ctx.db.transaction().execute(async (tx) => {
    const row = await lockSchedule(tx, ctx, id)
    await tx
      .deleteFrom('schedules')
      .where('id', '=', row.id)
      .where('workspace_id', '=', ctx.actor.workspaceId)
      .execute()
  })
}
