import type { JsonObject, Json } from '../../lib/json.ts'
import { parseDuration } from '../../lib/duration.ts'
import { uuidv7 } from '../../lib/ids.ts'
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
  /** `settings.timeout` of that version. */
  timeout: string | null
}

export function scheduledRun(schedule: RunSource, slotAt: Date, runId: string = uuidv7()): NewRun {
  const trigger: JsonObject = {
    kind: 'schedule',
    schedule_id: schedule.id,
    schedule_name: schedule.name,
    slot_at: slotAt.toISOString(),
  }
  return {
    id: runId,
    workspaceId: schedule.workspace_id,
    recipeId: schedule.recipe_id,
    recipeVersion: schedule.recipe_version,
    trigger,
    scheduleId: schedule.id,
    slotAt,
    stateKey: schedule.id,
    input: schedule.input,
    timeoutMs: schedule.timeout === null ? null : parseDuration(schedule.timeout),
  }
}
