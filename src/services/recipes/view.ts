import type { Kysely } from 'kysely'
import type { Database } from '../../db/database.ts'
import type { ScheduleRow } from '../../db/tables/schedules.table.ts'
import { entityTag } from '../../lib/etag.ts'
import type { Json, JsonObject } from '../../lib/json.ts'
import { databaseNow } from '../schedules/timing.ts'
import type { ScheduleView, SlotPreview } from '../schedules/types.ts'
import { toScheduleView } from '../schedules/view.ts'
import type { RecipeSettings, Step } from './definition.ts'
import type { RecipeRow, StoredRecipe } from './find.ts'
import type { Warning } from './warnings.ts'

/** A recipe in a list: without its definition, which may be large. */
export interface RecipeSummary {
  id: string
  slug: string
  name: string
  description: string | null
  version: number
  cron_schedule: string | null
  timezone: string | null
  created_at: string
  updated_at: string
}
export interface Recipe extends RecipeSummary {
  inputs: JsonObject | null
  steps: Step[]
  /** Absent where the definition names none: null is an output too. */
  output?: Json
  settings: RecipeSettings | null
  /** Coming slots of `cron_schedule`. */
  next_slots: SlotPreview[]
  /** Only on the answer to a write. */
  warnings?: Warning[]
}

/** A definition has a version of its own; slug and schedule change beside it. Coming slots move on by themselves. */
export const recipeTag = ({ id, version, slug, cron_schedule, timezone, updated_at, next_slots }: Recipe): string =>
  entityTag({ id, version, slug, cron_schedule, timezone, updated_at }, next_slots)

export function toSummary(row: RecipeRow, schedule: Pick<ScheduleView, 'cron' | 'timezone'> | null): RecipeSummary {
  // A default schedule that was changed to an interval is no cron_schedule.
  const cron = schedule?.cron ?? null
  return {
    id: row.id,
    slug: row.slug,
    name: row.name,
    description: row.description,
    version: row.version,
    cron_schedule: cron,
    timezone: cron === null ? null : schedule!.timezone,
    created_at: row.created_at.toISOString(),
    updated_at: row.updated_at.toISOString(),
  }
}

export function toRecipe({ row, definition }: StoredRecipe, schedule: ScheduleView | null): Recipe {
  const { version, cron_schedule, timezone, created_at, updated_at, ...names } = toSummary(row, schedule)
  return {
    ...names,
    version,
    inputs: definition.inputs ?? null,
    steps: definition.steps,
    ...(definition.output === undefined ? {} : { output: definition.output }),
    settings: definition.settings ?? null,
    cron_schedule,
    timezone,
    next_slots: cron_schedule === null ? [] : schedule!.next_slots,
    created_at,
    updated_at,
  }
}

export async function defaultScheduleOf(db: Kysely<Database>, row: RecipeRow): Promise<ScheduleView | null> {
  const schedule: ScheduleRow | undefined = await db
    .selectFrom('schedules')
    .selectAll()
    .where('workspace_id', '=', row.workspace_id)
    .where('recipe_id', '=', row.id)
    .where('name', '=', 'default')
    .executeTakeFirst()
  return schedule ? toScheduleView(schedule, await databaseNow(db)) : null
}
