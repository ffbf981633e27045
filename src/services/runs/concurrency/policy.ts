import { canonicalJson } from '../../../lib/canonical.ts'
import { parseDuration } from '../../../lib/duration.ts'
import { derivedUuid } from '../../../lib/ids.ts'
import type { Json, JsonObject } from '../../../lib/json.ts'
import { LanguageError } from '../../../lib/language/scope.ts'
import { renderTree } from '../../../lib/language/tree.ts'
import type { SlotScope } from '../../../db/tables/concurrency.table.ts'
import type { RecipeSettings } from '../../recipes/definition.ts'
import type { NewRun } from '../create-run.ts'

/** A limit of the recipe as it is for one run. */
export interface WantedSlot {
  counter: string
  scope: Exclude<SlotScope, 'workspace'>
  size: number
  key: string | null
  onConflict: 'queue' | 'skip' | 'cancel_previous'
}

/** What a recipe says about when its runs may start, with all keys worked out. */
export interface StartPolicy {
  slots: WantedSlot[]
  /** Triggers of one line within `periodMs` of each other make one run. */
  debounce: { line: string; periodMs: number; maxWaitMs: number | null } | null
  /** Starts of one line are at most `limit` a period. */
  throttle: { line: string; periodMs: number; limit: number } | null
  /** Somebody waits for the start as an answer: what cannot start is refused, and is no run. */
  answered: boolean
}

/** A key gave no value. `field` is its pointer below the settings. */
export class KeyError extends Error {
  readonly field: string
  constructor(field: string, detail: string) {
    super(detail)
    this.field = field
  }

  get forPeople(): string {
    return `settings${this.field.replaceAll('/', '.')} of the recipe: ${this.message}`
  }
}

/** Null where the recipe says nothing. Throws KeyError. */
export function startPolicy(
  settings: Pick<RecipeSettings, 'concurrency' | 'debounce' | 'throttle'> | null | undefined,
  recipeId: string,
  scope: { input: Json; trigger: JsonObject },
): StartPolicy | null {
  if (!settings?.concurrency && !settings?.debounce && !settings?.throttle) return null
  const { concurrency = [], debounce, throttle } = settings
  const limits = Array.isArray(concurrency) ? concurrency : [concurrency]
  return {
    slots: limits.map((limit, index) => {
      const field = Array.isArray(concurrency) ? `/concurrency/${index}/key` : '/concurrency/key'
      const key = valueOf(limit.key, field, scope)
      return {
        counter: lineOf(recipeId, 'slot', key),
        scope: key === null ? 'recipe' : 'key',
        size: limit.limit,
        key: key?.slice(0, longestShown) ?? null,
        onConflict: limit.on_conflict ?? 'queue',
      }
    }),
    debounce: debounce
      ? {
          line: lineOf(recipeId, 'debounce', valueOf(debounce.key, '/debounce/key', scope)),
          periodMs: parseDuration(debounce.period)!,
          maxWaitMs: debounce.max_wait === undefined ? null : parseDuration(debounce.max_wait),
        }
      : null,
    throttle: throttle
      ? {
          line: lineOf(recipeId, 'throttle', valueOf(throttle.key, '/throttle/key', scope)),
          periodMs: parseDuration(throttle.period)!,
          limit: throttle.limit,
        }
      : null,
    answered: true,
  }
}

const longestShown = 200

const lineOf = (recipeId: string, what: string, key: string | null) =>
  derivedUuid(recipeId, key === null ? what : `${what}:${key}`)

/** Any value will do but none: what has no key would share its slot with everything else that has none. */
function valueOf(key: Json | undefined, field: string, scope: { input: Json; trigger: JsonObject }): string | null {
  if (key === undefined) return null
  let value: Json
  try {
    value = renderTree(key, scope)
  } catch (error) {
    if (error instanceof LanguageError) throw new KeyError(field, error.message)
    throw error
  }
  if (value === null || value === '') throw new KeyError(field, 'The key has no value for this input.')
  return typeof value === 'string' ? value : canonicalJson(value)
}

/** For triggers that nobody waits for as an answer: a key without a value becomes the fault of the run. They are not debounced. */
export function policyOrFault(...given: Parameters<typeof startPolicy>): Pick<NewRun, 'policy' | 'fault'> {
  try {
    const policy = startPolicy(...given)
    return policy ? { policy: { ...policy, debounce: null, answered: false } } : {}
  } catch (error) {
    if (error instanceof KeyError) return { fault: error.forPeople }
    throw error
  }
}
