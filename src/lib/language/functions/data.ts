import { canonicalJson, sha256Hex } from '../../canonical.ts'
import { parseJson } from '../../parsers/json.ts'
import { lookUp } from '../path.ts'
import { setOwn, toJson, type ValueMap } from '../values.ts'
import { type FunctionTable, mapArg, takes, textArg } from './declare.ts'

export const dataFunctions: FunctionTable = {
  get: takes(
    2,
    3,
    ([value = null, path, fallback = null], budget) => lookUp(value, textArg('get', path), budget) ?? fallback,
  ),
  keys: takes(1, 1, ([map], budget) => {
    const keys = Object.keys(mapArg('keys', map))
    budget.use(keys.length)
    budget.allocate(keys.length)
    return keys
  }),
  values: takes(1, 1, ([map], budget) => {
    const values = Object.values(mapArg('values', map))
    budget.use(values.length)
    budget.allocate(values.length)
    return values
  }),
  merge: takes(2, Infinity, (maps, budget) => {
    const merged: ValueMap = {}
    for (const part of maps) {
      const map = mapArg('merge', part)
      const keys = Object.keys(map)
      budget.allocate(keys.length)
      budget.use(2 * keys.length)
      for (const key of keys) setOwn(merged, key, map[key] ?? null)
    }
    return merged
  }),
  hash: takes(1, 1, ([value = null], budget) => {
    const text = canonicalJson(toJson(value, budget))
    budget.allocate(text.length)
    budget.use(text.length >> 1)
    return sha256Hex(text)
  }),
  json: takes(1, 1, ([value = null], budget) => {
    const text = JSON.stringify(toJson(value, budget))
    budget.allocate(text.length)
    return text
  }),
  parse_json: takes(1, 1, ([text], budget) => {
    const source = textArg('parse_json', text)
    budget.allocate(source.length)
    budget.use(source.length >> 2)
    return parseJson(source)
  }),
}
