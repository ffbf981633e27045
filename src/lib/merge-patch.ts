import { isObject } from './json.ts'

/** JSON Merge Patch (RFC 7396): objects merge member by member, null takes a member away, all else replaces. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch
  const result = new Map(isObject(target) ? Object.entries(target) : [])
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) result.delete(name)
    else result.set(name, mergePatch(result.get(name), value))
  }
  // fromEntries defines own members, whatever they are called; an assignment to `__proto__` would not.
  return Object.fromEntries(result)
}
