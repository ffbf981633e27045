import { canonicalJson } from '../../canonical.ts'
import type { Budget } from '../budget.ts'
import { finite } from '../operators.ts'
import { lookUp } from '../path.ts'
import { LanguageError } from '../scope.ts'
import { compare, isMap, kindOf, toJson, toText, type Value } from '../values.ts'
import { type FunctionTable, listArg, numberArg, takes, textArg, wholeArg } from './declare.ts'

/** Items in the order of their keys; equal keys keep their order, absent (null) keys come last. */
export function ordered(items: Value[], keys: Value[], budget: Budget, descending = false): Value[] {
  budget.use(Math.ceil(items.length * Math.log2(items.length + 1)))
  budget.allocate(items.length * 2)
  const sign = descending ? -1 : 1
  return items
    .map((item, index) => ({ item, key: keys[index] ?? null }))
    .toSorted((left, right) => {
      if (left.key === null || right.key === null) return Number(left.key === null) - Number(right.key === null)
      return sign * compare(left.key, right.key, budget)
    })
    .map(({ item }) => item)
}

function extreme(name: string, args: Value[], sign: 1 | -1, budget: Budget): Value {
  const values = args.length === 1 ? listArg(name, args[0]) : args
  const [first, ...rest] = values
  if (first === undefined) throw new LanguageError(`${name}() of an empty list is not defined.`)
  return rest.reduce((best, value) => (sign * compare(value, best, budget) > 0 ? value : best), first)
}

function flat(list: Value[], depth: number, budget: Budget, into: Value[] = []): Value[] {
  for (const item of list) {
    budget.use(1)
    if (Array.isArray(item) && depth > 0) flat(item, depth - 1, budget, into)
    else into.push(item)
  }
  return into
}

export const listFunctions: FunctionTable = {
  slice: takes(2, 3, ([value, from, to], budget) => {
    const end = to === undefined ? undefined : wholeArg('slice', to)
    if (typeof value === 'string') return value.slice(wholeArg('slice', from), end)
    const part = listArg('slice', value).slice(wholeArg('slice', from), end)
    budget.allocate(part.length)
    return part
  }),
  sort_by: takes(1, 3, ([list, path, order], budget) => {
    const items = listArg('sort_by', list)
    const direction = order === undefined ? 'asc' : textArg('sort_by', order)
    if (direction !== 'asc' && direction !== 'desc') throw new LanguageError("sort_by() orders 'asc' or 'desc'.")
    const keys =
      path === undefined ? items : items.map((item) => lookUp(item, textArg('sort_by', path), budget) ?? null)
    return ordered(items, keys, budget, direction === 'desc')
  }),
  reverse: takes(1, 1, ([list], budget) => {
    const items = listArg('reverse', list)
    budget.allocate(items.length)
    return items.toReversed()
  }),
  sum: takes(1, 1, ([list]) =>
    finite(listArg('sum', list).reduce<number>((total, item) => total + numberArg('sum', item), 0)),
  ),
  min: takes(1, Infinity, (args, budget) => extreme('min', args, -1, budget)),
  max: takes(1, Infinity, (args, budget) => extreme('max', args, 1, budget)),
  unique: takes(1, 1, ([list], budget) => {
    const seen = new Set<string>()
    return listArg('unique', list).filter((item) => {
      const key = canonicalJson(toJson(item, budget))
      budget.allocate(key.length)
      budget.use(4 + (key.length >> 1))
      if (seen.has(key)) return false
      seen.add(key)
      return true
    })
  }),
  flatten: takes(1, 2, ([list, depth], budget) => {
    const levels = depth === undefined ? 1 : wholeArg('flatten', depth)
    if (levels > 100) throw new LanguageError('flatten() dissolves at most 100 levels.')
    const items = flat(listArg('flatten', list), levels, budget)
    budget.allocate(items.length)
    return items
  }),
  join: takes(1, 2, ([list, separator], budget) => {
    const glue = separator === undefined ? '' : textArg('join', separator)
    const parts = listArg('join', list).map((item) => (item === null ? '' : toText(item, budget)))
    budget.allocate(parts.reduce((size, part) => size + part.length + glue.length, 0))
    return parts.join(glue)
  }),
  first: takes(1, 1, ([list]) => listArg('first', list)[0] ?? null),
  last: takes(1, 1, ([list]) => listArg('last', list).at(-1) ?? null),
  size: takes(1, 1, ([value = null], budget) => {
    if (typeof value === 'string') {
      budget.use(value.length >> 2)
      return [...value].length
    }
    if (Array.isArray(value)) return value.length
    if (isMap(value)) {
      const { length } = Object.keys(value)
      budget.use(length)
      return length
    }
    throw new LanguageError(`size() wants a string, a list or a map, not a ${kindOf(value)}.`)
  }),
}
