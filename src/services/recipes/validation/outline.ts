import type { Fault } from '../../../lib/errors.ts'
import { isObject } from '../../../lib/json.ts'
import { pointerTo } from '../../../lib/pointer.ts'
import { definitionLimits, identifierPattern } from '../definition.ts'

export type Fields = Record<string, unknown>

/** A step as its author wrote it: its shape may be faulty, so every field is looked at before it is believed. */
export interface StepPlace {
  fields: Fields
  kind: unknown
  /** Null where it is absent or malformed. */
  id: string | null
  pointer: string
  list: StepList
  index: number
  children: StepList[]
}
export interface StepList {
  steps: StepPlace[]
  parent: StepPlace | null
  /** Variables of the foreach steps around it, outermost first. */
  variables: string[]
}
export interface Outline {
  root: StepList
  /** In document order. */
  all: StepPlace[]
  /** Those included that are no objects. */
  count: number
  faults: Fault[]
}

/** Where each step stands, however faulty the rest is, so that one report can hold every fault. */
export function outlineOf(steps: unknown): Outline {
  const outline: Outline = { root: { steps: [], parent: null, variables: [] }, all: [], count: 0, faults: [] }
  fill(outline, outline.root, steps, '/steps', 1)
  if (outline.count > definitionLimits.steps) {
    outline.faults.push({
      pointer: '/steps',
      detail: `must be at most ${definitionLimits.steps} steps in all, not ${outline.count}`,
    })
  }
  return outline
}

function fill(outline: Outline, list: StepList, steps: unknown, pointer: string, level: number): void {
  if (!Array.isArray(steps)) return
  if (level > definitionLimits.nesting) {
    outline.faults.push({ pointer, detail: `is nested deeper than ${definitionLimits.nesting} levels of steps` })
    return
  }
  outline.count += steps.length
  for (const [index, fields] of steps.entries()) {
    if (!isObject(fields)) continue
    const id = typeof fields['id'] === 'string' && identifierPattern.test(fields['id']) ? fields['id'] : null
    const place: StepPlace = {
      fields,
      kind: fields['kind'],
      id,
      pointer: pointerTo(pointer, index),
      list,
      index,
      children: [],
    }
    list.steps.push(place)
    outline.all.push(place)
    for (const child of childLists(place)) {
      const childList: StepList = { steps: [], parent: place, variables: child.variables }
      place.children.push(childList)
      fill(outline, childList, child.steps, child.pointer, level + 1)
    }
  }
}

function childLists({
  fields,
  kind,
  pointer,
  list,
}: StepPlace): { steps: unknown; pointer: string; variables: string[] }[] {
  const { variables } = list
  if (kind === 'foreach') {
    const variable = typeof fields['as'] === 'string' ? [fields['as']] : []
    return [{ steps: fields['steps'], pointer: `${pointer}/steps`, variables: [...variables, ...variable] }]
  }
  if (kind !== 'branch') return []
  const cases = Array.isArray(fields['cases']) ? fields['cases'] : []
  return [
    ...cases.map((item: unknown, index) => ({
      steps: isObject(item) ? item['steps'] : undefined,
      pointer: `${pointer}/cases/${index}/steps`,
      variables,
    })),
    { steps: fields['default'], pointer: `${pointer}/default`, variables },
  ]
}
