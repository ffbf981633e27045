import type { JsonObject, Json } from '../../lib/json.ts'
import { parseDuration } from '../../lib/duration.ts'
import { uuidv7 } from '../../lib/ids.ts'
import type { RecipeSettings } from '../recipes/definition.ts'
import { policyOrFault } from '../runs/concurrency/policy.ts'
import type { NewRun } from '../runs/create-run.ts'

/** What a run of a schedule is made of, read together with the schedule's row. */
export interface RunSource {
  id: string
  workspace_id: string
  recipe_id: string
  name: string
  input: Json
  /** The latest version when the slot fires. */
  recipe_version: number
  /** Of that version. */
  settings: RecipeSettings | null
  /** Of the schedule; null = what the recipe says. */
  priority: number | null
}

export function scheduledRun(schedule: RunSource, slotAt: Date, runId: string = uuidv7()): NewRun {
  const trigger: JsonObject = {
    kind: 'schedule',
    schedule_id: schedule.id,
    schedule_name: schedule.name,
    slot_at: slotAt.toISOString(),
  }
  const { settings, input } = schedule
  return {
    id: runId,
    workspaceId: schedule.workspace_id,
    recipeId: schedule.recipe_id,
    recipeVersion: schedule.recipe_version,
    trigger,
    scheduleId: schedule.id,
    slotAt,
    stateKey: schedule.id,
    input,
    priority: schedule.priority ?? settings?.priority ?? 0,
    timeoutMs: settings?.timeout === undefined ? null : parseDuration(settings.timeout),
    ...policyOrFault(settings, schedule.recipe_id, { input, trigger }),
  }
}
