import { isObject, type JsonObject } from '../json.ts'
import { atPointer } from '../pointer.ts'

export const typeNames = ['null', 'boolean', 'object', 'array', 'number', 'string', 'integer'] as const
export type TypeName = (typeof typeNames)[number]

/** What `#`, `#/a/pointer` or `#anchor` names within the schema; undefined where there is nothing. */
export function resolve(root: JsonObject, ref: string): unknown {
  if (ref === '#') return root
  if (!ref.startsWith('#/')) return anchor(root, ref.slice(1))
  try {
    return atPointer(root, decodeURIComponent(ref.slice(1)))
  } catch {
    return undefined
  }
}

const anchors = new WeakMap<JsonObject, Map<string, unknown>>()

/** Of a schema all at once: thousands of references would each search the whole of it. */
function anchor(root: JsonObject, name: string): unknown {
  const known = anchors.get(root)
  if (known) return known.get(name)
  const found = new Map<string, unknown>()
  const pending: unknown[] = [root]
  for (let value = pending.pop(); value !== undefined; value = pending.pop()) {
    if (isObject(value) && typeof value['$anchor'] === 'string' && !found.has(value['$anchor']))
      found.set(value['$anchor'], value)
    if (typeof value === 'object' && value !== null)
      for (const item of Object.values(value)) if (item !== undefined) pending.push(item)
  }
  anchors.set(root, found)
  return found.get(name)
}
