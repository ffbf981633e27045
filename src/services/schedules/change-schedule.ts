import type { ServiceContext } from '../../context.ts'
import { isUniqueViolation } from '../../db/unique-violation.ts'
import { AppError } from '../../lib/errors.ts'
import { requireMatch } from '../../lib/etag.ts'
import { requirePermission } from '../../lib/require-permission.ts'
import { changesOf, recordAudit, type AuditContext } from '../audit/record.ts'
import { auditedSchedule } from './audited.ts'
import { inputFaults, lockRecipe } from './recipe-input.ts'
import { applySettings, type ScheduleSettings } from './settings.ts'
import { changeSchedule, lockSchedule } from './store.ts'
import { databaseNow } from './timing.ts'
import type { ScheduleView } from './types.ts'
import { scheduleTag, toScheduleView } from './view.ts'

type Context = Pick<ServiceContext, 'db' | 'wake'> & AuditContext

interface Target {
  id: string
  ifMatch?: string | null
}

/** Changes what is given and keeps the rest. What starts executions takes the right to do so; to pause does not. */
export async function updateSchedule(ctx: Context, change: ScheduleSettings & Target): Promise<ScheduleView> {
  requirePermission(ctx, 'recipes:execute')
  return applyChange(ctx, change, 'schedule.updated')
}

async function applyChange(
  ctx: Context,
  { id, ifMatch = null, ...input }: ScheduleSettings & Target,
  action: string,
): Promise<ScheduleView> {
  const change = ctx.db.transaction().execute(async (tx) => {
    const row = await lockSchedule(tx, ctx, id)
    const now = await databaseNow(tx)
    if (ifMatch !== null) requireMatch(ifMatch, scheduleTag(toScheduleView(row, now)))
    const settings = applySettings(row, input, now)
    if (input.input_data !== undefined) {
      const recipe = await lockRecipe(tx, ctx, row.recipe_id)
      const errors = inputFaults(recipe, settings.input, '/input_data')
      if (errors.length > 0) throw new AppError('invalid', 'The schedule has faults.', { errors })
    }
    const changed = await changeSchedule(tx, row, settings, now)
    const target = { type: 'schedule', id: row.id }
    await recordAudit(tx, ctx, { action, target, ...changesOf(auditedSchedule(row), auditedSchedule(changed)) })
    return toScheduleView(changed, now)
  })
  const view = await change.catch((error: unknown) => {
    if (!isUniqueViolation(error)) throw error
    throw new AppError('conflict', `The recipe has another schedule named ${input.name}.`)
  })
  ctx.wake.schedulesChanged()
  return view
}

/** No slot fires until the schedule is resumed. A run under way goes on. */
export const pauseSchedule = (ctx: Context, target: Target): Promise<ScheduleView> =>
  applyChange(ctx, { ...target, paused: true }, 'schedule.paused')

/** Slots begin again now; those of the pause are in the ledger as one range. Also takes up a parked schedule again. */
export async function resumeSchedule(ctx: Context, target: Target): Promise<ScheduleView> {
  requirePermission(ctx, 'recipes:execute')
  return applyChange(ctx, { ...target, paused: false }, 'schedule.resumed')
}

/** Deletes the schedule and its ledger. Its runs stay, those under way included. */
export async function deleteSchedule(ctx: Context, { id, ifMatch = null }: Target): Promise<void> {
  await ctx.db.transaction().execute(async (tx) => {
    const row = await lockSchedule(tx, ctx, id)
    if (ifMatch !== null) requireMatch(ifMatch, scheduleTag(toScheduleView(row, await databaseNow(tx))))
    await tx
      .deleteFrom('schedules')
      .where('id', '=', row.id)
      .where('workspace_id', '=', ctx.actor.workspaceId)
      .execute()
    await recordAudit(tx, ctx, {
      action: 'schedule.deleted',
      target: { type: 'schedule', id: row.id },
      before: auditedSchedule(row),
    })
  })
}
