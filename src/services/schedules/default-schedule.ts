import type { Transaction } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { AppError, type Fault } from '../../lib/errors.ts'
import { requirePermission } from '../../lib/require-permission.ts'
import { inputFaults, lockRecipe } from './recipe-input.ts'
import { applySettings, defaultSettings, type SettingColumns } from './settings.ts'
import { changeSchedule, insertSchedule } from './store.ts'
import { databaseNow } from './timing.ts'
import type { ScheduleView } from './types.ts'
import { toScheduleView } from './view.ts'

const name = 'default'

/**
 * `cron_schedule` of a recipe: makes, changes or (null) removes its schedule named `default`, inside the transaction
 * that saves the recipe. Settings that the schedule got otherwise stay. Faults point at `/cron_schedule` and `/timezone`.
 * Call `wake.schedulesChanged` after the commit.
 */
export async function upsertDefaultSchedule(
  tx: Transaction<Database>,
  ctx: Pick<ServiceContext, 'actor'>,
  input: { recipeId: string; cron: string | null; timezone?: string },
): Promise<ScheduleView | null> {
  const existing = await tx
    .selectFrom('schedules')
    .selectAll()
    .where('workspace_id', '=', ctx.actor.workspaceId)
    .where('recipe_id', '=', input.recipeId)
    .where('name', '=', name)
    .forUpdate()
    .executeTakeFirst()
  if (input.cron === null) {
    if (existing)
      await tx
        .deleteFrom('schedules')
        .where('id', '=', existing.id)
        .where('workspace_id', '=', ctx.actor.workspaceId)
        .execute()
    return null
  }
  const isSame = existing?.cron === input.cron && (input.timezone === undefined || existing.timezone === input.timezone)
  if (!isSame) requirePermission(ctx, 'recipes:execute')
  const now = await databaseNow(tx)
  const settings = readSettings(existing ?? defaultSettings(now), { cron: input.cron, timezone: input.timezone }, now)
  const recipe = await lockRecipe(tx, ctx, input.recipeId)
  const faults = inputFaults(recipe, settings.input, '')
  if (faults.length > 0)
    throw new AppError('invalid', 'The recipe cannot run on its schedule.', { errors: [missing(faults)] })
  const row = existing
    ? await changeSchedule(tx, existing, settings, now)
    : await insertSchedule(tx, ctx, recipe.id, settings, now)
  if (!row) throw new AppError('conflict', 'Another request has just made the default schedule of this recipe.')
  return toScheduleView(row, now)
}

const missing = (faults: Fault[]): Fault => ({
  pointer: '/cron_schedule',
  detail:
    'needs a schedule with input_data (POST /api/schedules), because the inputs of the recipe are not met: ' +
    faults.map((fault) => `${fault.pointer || '/'} ${fault.detail}`).join('; '),
})

function readSettings(current: SettingColumns, input: { cron: string; timezone: string | undefined }, now: Date) {
  try {
    return applySettings(current, input, now)
  } catch (error) {
    if (!(error instanceof AppError) || !error.errors) throw error
    const errors = error.errors.map((fault) =>
      fault.pointer === '/cron' ? { ...fault, pointer: '/cron_schedule' } : fault,
    )
    throw new AppError('invalid', error.detail, { errors })
  }
}
