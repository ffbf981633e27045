import type { ServiceContext } from '../../context.ts'
import { timesDecimal } from '../../lib/decimal.ts'
import { AppError } from '../../lib/errors.ts'
import { monthsFrom } from '../../lib/slots/months.ts'
import type { SlotSpec } from '../../lib/slots/spec.ts'
import { stretchOf } from '../../lib/slots/stretch.ts'
import { findRecipe } from '../recipes/find.ts'
import { costOfRun, type RunCost } from './cost-of-run.ts'
import { applySettings, defaultSettings, type ScheduleSettings } from './settings.ts'
import { findSchedule } from './store.ts'
import { databaseNow, specOf } from './timing.ts'

type Context = Pick<ServiceContext, 'db' | 'config' | 'actor'>

export interface Forecast {
  timezone: string
  per_run: RunCost
  months: {
    /** Of the schedule's zone; the first one is what is left of it. */
    month: string
    from: string
    to: string
    /** Slots, and so runs at most: an overlap policy may leave some out. */
    runs: number
    cost_usd: string | null
  }[]
}

/** What a schedule that does not exist yet would run and cost. Writes nothing. */
export async function forecastNew(
  ctx: Context,
  { recipe_id, months, ...timing }: ScheduleSettings & { recipe_id?: string | undefined; months: number },
): Promise<Forecast> {
  const now = await databaseNow(ctx.db)
  const settings = applySettings(defaultSettings(now), timing, now)
  return forecast(ctx, specOf(settings), recipe_id ?? null, now, months)
}

/** What a schedule will run and cost from now on; of a paused one, what it would if it were resumed now. */
export async function forecastSchedule(
  ctx: Context,
  { id, months }: { id: string; months: number },
): Promise<Forecast> {
  const schedule = await findSchedule(ctx.db, ctx, id)
  const now = await databaseNow(ctx.db)
  return forecast(ctx, specOf(schedule), schedule.recipe_id, now, months)
}

async function forecast(
  ctx: Context,
  spec: SlotSpec,
  recipeId: string | null,
  now: Date,
  count: number,
): Promise<Forecast> {
  const perRun = recipeId === null ? withoutRecipe : await costOf(ctx, recipeId)
  return {
    timezone: spec.zone,
    per_run: perRun,
    months: monthsFrom(spec.zone, now, count).map(({ name, from, to }) => {
      const runs = slotsBetween(spec, from, to)
      const cost = perRun.cost_usd === null ? null : timesDecimal(perRun.cost_usd, runs)
      return { month: name, from: from.toISOString(), to: to.toISOString(), runs, cost_usd: cost }
    }),
  }
}

async function costOf(ctx: Context, recipeId: string): Promise<RunCost> {
  const { row, definition } = await findRecipe(ctx.db, ctx.actor.workspaceId, recipeId)
  return costOfRun(ctx, { id: row.id, definition })
}

const withoutRecipe: RunCost = {
  cost_usd: null,
  basis: null,
  runs: 0,
  detail: 'No recipe is named, so there is nothing to tell a cost from.',
}

function slotsBetween(spec: SlotSpec, from: Date, to: Date): number {
  try {
    return stretchOf(spec, new Date(from.getTime() - 1), new Date(to.getTime() - 1))?.count ?? 0
  } catch (error) {
    throw new AppError('conflict', `Its slots cannot be computed: ${error instanceof Error ? error.message : ''}`)
  }
}
