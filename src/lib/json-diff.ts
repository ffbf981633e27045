import { isObject, type Json } from './json.ts'
import { pointerTo } from './pointer.ts'

/**
 * One difference. `pointer` is the place in the newer value, of a removal the place in the older one. An item with an id
 * that only changed its place among the others has moved from `from_pointer`.
 */
export type Change =
  | { op: 'add'; pointer: string; to: Json }
  | { op: 'remove'; pointer: string; from: Json }
  | { op: 'replace'; pointer: string; from: Json; to: Json }
  | { op: 'move'; pointer: string; from_pointer: string }

/** What changed between two JSON values, by pointer. */
export function diffJson(from: Json, to: Json): Change[] {
  const changes: Change[] = []
  compare(from, to, '', '', changes)
  return changes
}

function compare(from: Json, to: Json, older: string, newer: string, changes: Change[]): void {
  if (from === to) return
  if (isObject(from) && isObject(to)) return compareObjects(from, to, older, newer, changes)
  if (Array.isArray(from) && Array.isArray(to)) {
    const [before, after] = [byId(from), byId(to)]
    if (before && after) return compareItems(before, after, older, newer, changes)
    if (from.length === to.length) {
      for (const [index, item] of from.entries()) {
        compare(item, to[index]!, pointerTo(older, index), pointerTo(newer, index), changes)
      }
      return
    }
  }
  changes.push({ op: 'replace', pointer: newer, from, to })
}

function compareObjects(
  from: { [key: string]: Json },
  to: { [key: string]: Json },
  older: string,
  newer: string,
  changes: Change[],
): void {
  for (const [key, value] of Object.entries(from)) {
    if (!Object.hasOwn(to, key)) changes.push({ op: 'remove', pointer: pointerTo(older, key), from: value })
    else compare(value, to[key]!, pointerTo(older, key), pointerTo(newer, key), changes)
  }
  for (const [key, value] of Object.entries(to)) {
    if (!Object.hasOwn(from, key)) changes.push({ op: 'add', pointer: pointerTo(newer, key), to: value })
  }
}

type Identified = Map<string, { index: number; value: Json }>

/** Items that all have an id are told apart by it, so that one inserted at the head does not look like a change of all. */
function byId(list: Json[]): Identified | null {
  const found: Identified = new Map()
  for (const [index, value] of list.entries()) {
    if (!isObject(value) || typeof value['id'] !== 'string') return null
    found.set(value['id'], { index, value })
  }
  return found.size === list.length ? found : null
}

const placesOf = (ids: string[]): Map<string, number> => new Map(ids.map((id, place) => [id, place]))

function compareItems(from: Identified, to: Identified, older: string, newer: string, changes: Change[]): void {
  for (const [id, { index, value }] of from) {
    if (!to.has(id)) changes.push({ op: 'remove', pointer: pointerTo(older, index), from: value })
  }
  const keptBefore = placesOf([...from.keys()].filter((id) => to.has(id)))
  const keptAfter = placesOf([...to.keys()].filter((id) => from.has(id)))
  for (const [id, { index, value }] of to) {
    const before = from.get(id)
    const pointer = pointerTo(newer, index)
    if (!before) {
      changes.push({ op: 'add', pointer, to: value })
      continue
    }
    const from_pointer = pointerTo(older, before.index)
    if (keptBefore.get(id) !== keptAfter.get(id)) changes.push({ op: 'move', pointer, from_pointer })
    compare(before.value, value, from_pointer, pointer, changes)
  }
}
