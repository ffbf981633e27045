import type { ServiceContext } from '../../context.ts'
import { AppError, type Fault } from '../../lib/errors.ts'
import { requirePermission } from '../../lib/require-permission.ts'
import { recordAudit, type AuditContext } from '../audit/record.ts'
import { auditedSchedule } from './audited.ts'
import { inputFaults, lockRecipe } from './recipe-input.ts'
import { applySettings, defaultSettings, type ScheduleSettings, type SettingColumns } from './settings.ts'
import { insertSchedule } from './store.ts'
import { databaseNow, specOf } from './timing.ts'
import type { ScheduleView, SlotPreview } from './types.ts'
import { nextSlot } from '../../lib/slots/slots.ts'
import { previewSlots, toScheduleView } from './view.ts'

type Context = Pick<ServiceContext, 'db' | 'wake'> & AuditContext

export async function createSchedule(
  ctx: Context,
  input: ScheduleSettings & { recipe_id: string },
): Promise<ScheduleView> {
  requirePermission(ctx, 'recipes:execute')
  const view = await ctx.db.transaction().execute(async (tx) => {
    const recipe = await lockRecipe(tx, ctx, input.recipe_id)
    const now = await databaseNow(tx)
    const { settings, faults } = read(input, now)
    faults.push(...inputFaults(recipe, input.input_data ?? {}, '/input_data'))
    if (!settings || faults.length > 0) throw new AppError('invalid', 'The schedule has faults.', { errors: faults })
    const row = await insertSchedule(tx, ctx, recipe.id, settings, now)
    if (!row) {
      throw new AppError(
        'conflict',
        `The recipe has a schedule named ${settings.name}. Change that one, or give this one another name.`,
      )
    }
    await recordAudit(tx, ctx, {
      action: 'schedule.created',
      target: { type: 'schedule', id: row.id },
      after: auditedSchedule(row),
    })
    return toScheduleView(row, now)
  })
  ctx.wake.schedulesChanged()
  return view
}

/** The next slots that a schedule with these settings would have. Writes nothing. */
export async function previewSchedule(
  { db }: Pick<ServiceContext, 'db'>,
  input: ScheduleSettings,
): Promise<{ timezone: string; next_slots: SlotPreview[] }> {
  const now = await databaseNow(db)
  const { settings, faults } = read(input, now)
  if (!settings || faults.length > 0) throw new AppError('invalid', 'The schedule has faults.', { errors: faults })
  return { timezone: settings.timezone, next_slots: previewSlots(specOf(settings), now) }
}

/** Collects the faults instead of throwing them, so that those of the recipe's inputs can join them. */
function read(input: ScheduleSettings, now: Date): { settings: SettingColumns | null; faults: Fault[] } {
  try {
    const settings = applySettings(defaultSettings(now), input, now)
    const faults = nextSlot(specOf(settings), now) ? [] : [{ pointer: '/end_at', detail: 'leaves no slot to come' }]
    return { settings, faults }
  } catch (error) {
    if (error instanceof AppError && error.errors) return { settings: null, faults: [...error.errors] }
    throw error
  }
}
