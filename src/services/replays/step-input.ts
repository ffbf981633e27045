import type { Json, JsonObject } from '../../lib/json.ts'
import { LanguageError } from '../../lib/language/scope.ts'
import { renderTree } from '../../lib/language/tree.ts'
import type { Step } from '../recipes/definition.ts'
import type { Flow, Frame } from '../runs/flow.ts'

/** What of a step says when and how it is done, not what. */
const notInput = new Set([
  'id',
  'name',
  'when',
  'retry',
  'timeout',
  'on_error',
  'on_reject',
  'on_timeout',
  'once',
  'needs',
])

/** What a step would go out with: everything that it is given, rendered in its place. Equal inputs, equal effect. */
export function inputOf(flow: Flow, step: Step, frame: Frame): Json {
  const given = Object.fromEntries(Object.entries(step).filter(([name]) => !notInput.has(name))) as JsonObject
  try {
    return renderTree(given, flow.scope(frame))
  } catch (error) {
    if (!(error instanceof LanguageError)) throw error
    return { ...given, $unrendered: error.message }
  }
}

/** Steps that work out a value, or only wait: doing them again does nothing outside. */
export function isPure(step: Step): boolean {
  switch (step.kind) {
    case 'transform':
    case 'fail':
    case 'branch':
    case 'foreach':
      return true
    case 'wait':
      return step.event === undefined
    default:
      return false
  }
}
