import { AppError, type Fault } from '../../lib/errors.ts'
import { isObject } from '../../lib/json.ts'
import { applySettings, defaultSettings } from '../schedules/settings.ts'
import type { RecipeDefinition } from './definition.ts'
import { validateDefinition } from './validate.ts'

/** A recipe as callers send it: the definition, and beside it the short way to a schedule, which belongs to no version. */
export interface RecipeInput {
  definition: RecipeDefinition
  /** Undefined: leave the schedule alone. Null: no schedule. */
  cron: string | null | undefined
  timezone: string | undefined
}

/** Every fault of the definition and of the schedule beside it. */
export function checkRecipeInput(value: unknown, now: Date): { input: RecipeInput | null; faults: Fault[] } {
  const { cron_schedule: cron, timezone, ...document } = isObject(value) ? value : {}
  const { definition, faults } = validateDefinition(isObject(value) ? document : value)
  const all = [...faults, ...scheduleFaults(cron, timezone, now)]
  if (!definition || all.length > 0) return { input: null, faults: all }
  return {
    input: { definition, cron: cron as string | null | undefined, timezone: timezone as string | undefined },
    faults: [],
  }
}

export function parseRecipeInput(value: unknown, now: Date): RecipeInput {
  const { input, faults } = checkRecipeInput(value, now)
  if (!input) throw invalidRecipe(faults)
  return input
}

export function invalidRecipe(faults: Fault[]): AppError {
  const [first] = faults
  const detail =
    faults.length === 1 && first
      ? `${first.pointer || 'The recipe'} ${first.detail}.`
      : `The recipe has ${faults.length} faults.`
  return new AppError('invalid', detail, { errors: faults })
}

export function scheduleFaults(cron: unknown, timezone: unknown, now: Date): Fault[] {
  const faults: Fault[] = []
  if (cron !== undefined && cron !== null && typeof cron !== 'string') {
    faults.push({ pointer: '/cron_schedule', detail: 'must be a cron expression or null' })
  }
  if (timezone !== undefined && typeof timezone !== 'string') {
    faults.push({ pointer: '/timezone', detail: 'must be the name of a time zone such as Europe/Vienna' })
  }
  if (faults.length > 0 || typeof cron !== 'string') return faults
  try {
    applySettings(defaultSettings(now), { cron, timezone: timezone as string | undefined }, now)
    return []
  } catch (error) {
    if (!(error instanceof AppError) || !error.errors) throw error
    return error.errors.map((fault) => (fault.pointer === '/cron' ? { ...fault, pointer: '/cron_schedule' } : fault))
  }
}
