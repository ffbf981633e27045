import { membersOf } from '../graph.ts'
import { orderOf } from './order.ts'
import type { StepList, StepPlace } from './outline.ts'

/** Ids of the steps that may have run by the time a step renders its fields. */
export function visibleTo(place: StepPlace): Set<string> {
  const visible = new Set<string>()
  for (let at: StepPlace | null = place; at; at = at.list.parent) {
    const { steps } = at.list
    const seen = orderOf(at.list).seen[steps.indexOf(at)]!
    for (const position of membersOf(seen, steps.length)) addExposed(steps[position]!, visible)
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
