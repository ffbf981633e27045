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

function anchor(root: JsonObject, name: string): unknown {
  const pending: unknown[] = [root]
  for (let value = pending.pop(); value !== undefined; value = pending.pop()) {
    if (isObject(value) && value['$anchor'] === name) return value
    if (typeof value === 'object' && value !== null)
      pending.push(...Object.values(value).filter((item) => item !== undefined))
  }
  return undefined
}
