import { isObject } from '../../../lib/json.ts'
import type { StepList, StepPlace } from './outline.ts'

/** Ids of the steps that may have run by the time a step renders its fields. */
export function visibleTo(place: StepPlace): Set<string> {
  const visible = new Set<string>()
  for (let at: StepPlace | null = place; at; at = at.list.parent) {
    for (const step of at.list.steps.slice(0, lastBefore(at) + 1)) addExposed(step, visible)
  }
  return visible
}

/** Ids that the output of the recipe can read. */
export function visibleAtEnd(root: StepList): Set<string> {
  const visible = new Set<string>()
  for (const step of root.steps) addExposed(step, visible)
  return visible
}

/** A step shows itself and what its branches hold; steps of a foreach run once an item, so only the items' list shows. */
function addExposed(step: StepPlace, visible: Set<string>): void {
  if (step.id !== null) visible.add(step.id)
  if (step.kind !== 'branch') return
  for (const list of step.children) for (const inner of list.steps) addExposed(inner, visible)
}

/**
 * The position up to which steps of the same list may have run before this one: its predecessor, or, where an
 * `goto` leads back, as far as the last step from which control can return here.
 */
function lastBefore(place: StepPlace): number {
  const jumps = place.list.steps.flatMap((step) =>
    gotosOf(step).flatMap(({ goto }) => {
      const target = place.list.steps.findIndex((other) => other.id !== null && other.id === goto)
      return target < 0 ? [] : [{ from: step.list.steps.indexOf(step), to: target }]
    }),
  )
  const position = place.list.steps.indexOf(place)
  let last = position - 1
  for (let grown = true; grown;) {
    grown = false
    for (const { from, to } of jumps) {
      if (from > last && (to <= last || to === position)) {
        last = from
        grown = true
      }
    }
  }
  return last
}

/** Where a step may lead besides the one behind it, and which field says so. */
export function gotosOf({ fields }: StepPlace): { field: string; goto: string }[] {
  return ['on_error', 'on_reject', 'on_timeout'].flatMap((field) => {
    const next = fields[field]
    return isObject(next) && typeof next['goto'] === 'string' ? [{ field, goto: next['goto'] }] : []
  })
}
