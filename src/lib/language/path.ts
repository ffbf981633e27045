import type { Budget } from './budget.ts'
import { LanguageError } from './scope.ts'
import { isMap, type Value } from './values.ts'
import { LruCache } from '../lru-cache.ts'

const read = new LruCache<readonly string[]>(500)

/** The keys of `a.b[0].c`. A key that holds a dot or a bracket is written `["a.b"]`. */
export function pathKeys(path: string): readonly string[] {
  if (path.length > 500) throw new LanguageError('A path may have at most 500 characters.')
  return read.getOrMake(path, () => readPath(path))
}

function readPath(path: string): string[] {
  if (path === '') return []
  const form = /\.?([^.[\]"']+)|\[(\d+)\]|\[(?:"([^"]*)"|'([^']*)')\]/y
  const keys: string[] = []
  while (form.lastIndex < path.length) {
    const [, name, index, double, single] = form.exec(path) ?? []
    const key = name ?? index ?? double ?? single
    if (key === undefined) throw new LanguageError(`'${path}' is not a path: write a.b[0].c.`)
    keys.push(key)
  }
  return keys
}

/** The value at a path, or undefined where any part of it is absent. Only own keys are seen. */
export function lookUp(value: Value, path: string, budget: Budget): Value | undefined {
  let current: Value | undefined = value
  for (const key of pathKeys(path)) {
    budget.use(1)
    if (current === undefined) return undefined
    if (Array.isArray(current)) current = /^\d+$/.test(key) ? current[Number(key)] : undefined
    else if (isMap(current) && Object.hasOwn(current, key)) current = current[key]
    else return undefined
  }
  return current
}
