import type { Fault } from '../errors.ts'
import { isObject, type Json } from '../json.ts'
import { checkExpression, evaluateExpression } from './expression.ts'
import { LanguageError, type Reference, type Scope } from './scope.ts'
import { checkTemplate, renderValue } from './template.ts'
import { setOwn } from './values.ts'

const maxTreeDepth = 500
/** Characters of all rendered leaves together, roughly. */
const maxTreeSize = 4_000_000

/** `{"$expr": "<cel>"}` and nothing else; a map with other keys beside `$expr` is a fault. */
function isExpression(tree: Json): tree is { $expr: Json } {
  return isObject(tree) && Object.hasOwn(tree, '$expr')
}

const soleKey = '{"$expr"} holds one CEL expression as a string and no other key.'

function expressionOf(tree: { [key: string]: Json }): string | null {
  return typeof tree.$expr === 'string' && Object.keys(tree).length === 1 ? tree.$expr : null
}

/**
 * A data field rendered leaf by leaf: `{"$expr"}` is CEL, strings are Liquid, a string that is exactly one
 * `{{ x }}` keeps the type of x. Keys and all other values stay as they are.
 */
export function renderTree(tree: Json, scope: Scope, onWarning?: (message: string) => void): Json {
  let size = 0
  const counted = (value: Json): Json => {
    size += sizeOf(value)
    if (size > maxTreeSize) throw new LanguageError(`The rendered value is larger than ${maxTreeSize} characters.`)
    return value
  }
  const render = (part: Json, depth: number): Json => {
    if (depth > maxTreeDepth) throw new LanguageError(`The value is nested deeper than ${maxTreeDepth} levels.`)
    if (typeof part === 'string') return counted(renderValue(part, scope, onWarning))
    if (typeof part !== 'object' || part === null) return counted(part)
    if (Array.isArray(part)) return part.map((item) => render(item, depth + 1))
    if (isExpression(part)) {
      const source = expressionOf(part)
      if (source === null) throw new LanguageError(soleKey)
      return counted(evaluateExpression(source, scope))
    }
    const rendered: { [key: string]: Json } = {}
    for (const key of Object.keys(part)) setOwn(rendered, key, render(part[key] ?? null, depth + 1))
    return rendered
  }
  return render(tree, 0)
}

function sizeOf(value: Json): number {
  if (typeof value === 'string') return value.length + 2
  if (typeof value !== 'object' || value === null) return 8
  if (Array.isArray(value)) return value.reduce<number>((sum, item) => sum + sizeOf(item), 2)
  return Object.keys(value).reduce((sum, key) => sum + key.length + sizeOf(value[key] ?? null), 2)
}

export interface TreeCheck {
  faults: Fault[]
  references: (Reference & { pointer: string })[]
  secrets: { ref: string; pointer: string }[]
}

/** Every fault of a data field, each with its JSON pointer under `pointer`. */
export function checkTree(tree: Json, pointer: string): TreeCheck {
  const result: TreeCheck = { faults: [], references: [], secrets: [] }
  const add = (at: string, faults: string[], references: Reference[], secrets: string[]) => {
    for (const detail of faults) result.faults.push({ pointer: at, detail })
    for (const reference of references) result.references.push({ ...reference, pointer: at })
    for (const ref of secrets) result.secrets.push({ ref, pointer: at })
  }
  const check = (part: Json, at: string, depth: number): void => {
    if (depth > maxTreeDepth) return add(at, [`The value is nested deeper than ${maxTreeDepth} levels.`], [], [])
    if (typeof part === 'string') {
      const { faults, references, secrets } = checkTemplate(part)
      return add(at, faults, references, secrets)
    }
    if (typeof part !== 'object' || part === null) return
    if (Array.isArray(part)) return part.forEach((item, index) => check(item, `${at}/${index}`, depth + 1))
    if (isExpression(part)) {
      const source = expressionOf(part)
      if (source === null) return add(at, [soleKey], [], [])
      const { faults, references } = checkExpression(source)
      return add(`${at}/$expr`, faults, references, [])
    }
    for (const key of Object.keys(part)) {
      check(part[key] ?? null, `${at}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`, depth + 1)
    }
  }
  check(tree, pointer, 0)
  return result
}
