import type { Fault } from '../errors.ts'
import { isObject, type JsonObject } from '../json.ts'
import { atPointer, pointerTo } from '../pointer.ts'
import { patternOf } from './patterns.ts'
import { resolve, typeNames } from './shared.ts'

const maxSubschemas = 5_000
const maxEnum = 1_000
/** Instructions of all patterns together: they are compiled in one go, and kept while they are in use. */
const maxPatterns = 50_000

type Rule = (value: unknown) => string | null
const when =
  (ok: (value: unknown) => boolean, otherwise: string): Rule =>
  (value) =>
    ok(value) ? null : otherwise

const isCount = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0
const isNumber = (value: unknown) => typeof value === 'number' && Number.isFinite(value)
const isTexts = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((item) => typeof item === 'string')
const isType = (value: unknown) => typeNames.includes(value as (typeof typeNames)[number])
const count = when(isCount, 'must be a whole number, 0 or more')
const number = when(isNumber, 'must be a number')
const text = when((value) => typeof value === 'string', 'must be a text')

function pattern(value: unknown): string | null {
  if (typeof value !== 'string') return 'must be a text'
  try {
    patternOf(value)
    return null
  } catch (error) {
    return error instanceof Error ? error.message : 'is not a regular expression'
  }
}

const unsupported =
  (instead: string): Rule =>
  () =>
    `is not supported; use ${instead}`

/** What the value of a keyword must be, where it is no schema. Keywords that are not here are annotations. */
const rules: Record<string, Rule> = {
  type: when(
    (value) =>
      isType(value) ||
      (Array.isArray(value) && value.length > 0 && value.length <= typeNames.length && value.every(isType)),
    `must be one or more of ${typeNames.join(', ')}`,
  ),
  enum: when(
    (value) => Array.isArray(value) && value.length > 0 && value.length <= maxEnum,
    `must be a list of 1 to ${maxEnum} values`,
  ),
  multipleOf: when((value) => isNumber(value) && (value as number) > 0, 'must be a number above 0'),
  maximum: number,
  exclusiveMaximum: number,
  minimum: number,
  exclusiveMinimum: number,
  maxLength: count,
  minLength: count,
  maxItems: count,
  minItems: count,
  maxContains: count,
  minContains: count,
  maxProperties: count,
  minProperties: count,
  uniqueItems: when((value) => typeof value === 'boolean', 'must be true or false'),
  required: when(isTexts, 'must be a list of texts'),
  dependentRequired: when(
    (value) => isObject(value) && Object.values(value).every(isTexts),
    'must hold lists of texts',
  ),
  pattern,
  format: text,
  $anchor: text,
  $id: text,
  $schema: text,
  $dynamicRef: unsupported('$ref'),
  $recursiveRef: unsupported('$ref'),
  dependencies: unsupported('dependentRequired or dependentSchemas'),
  additionalItems: unsupported('prefixItems with items'),
}

const schemaKeywords = [
  'items',
  'contains',
  'additionalProperties',
  'propertyNames',
  'unevaluatedItems',
  'unevaluatedProperties',
  'not',
  'if',
  'then',
  'else',
]
const listKeywords = ['allOf', 'anyOf', 'oneOf', 'prefixItems']
const mapKeywords = ['properties', 'patternProperties', 'dependentSchemas', '$defs', 'definitions']

const tooManyPatterns = 'is too large together with the other patterns'

/** The first fault of a schema, in words; null for a schema that validateJson can apply. */
export function checkSchema(schema: unknown): string | null {
  const fault = faultOfSchema(schema)
  return fault && `${fault.pointer} ${fault.detail}`.trimStart()
}

/** As checkSchema, with the place on its own. */
export function faultOfSchema(schema: unknown): Fault | null {
  const seen = new Set<unknown>()
  const patterns = new Set<string>()
  let ofPatterns = 0
  /** Compiles one only after those before it were found small enough. */
  const addPattern = (source: unknown): boolean => {
    if (typeof source !== 'string' || patterns.has(source)) return true
    patterns.add(source)
    ofPatterns += patternOf(source).size
    return ofPatterns <= maxPatterns
  }
  const pending: { value: unknown; pointer: string }[] = [{ value: schema, pointer: '' }]
  // Last in, first out over a list: a schema a million levels deep does not exhaust the stack.
  for (let next = pending.pop(); next; next = pending.pop()) {
    const { value, pointer } = next
    const at = (detail: string, ...keys: string[]): Fault => ({ pointer: keys.reduce(pointerTo, pointer), detail })
    if (typeof value === 'boolean' && pointer !== '') continue
    if (!isObject(value)) return at('must be a JSON Schema object')
    if (seen.has(value)) continue
    seen.add(value)
    if (seen.size > maxSubschemas) return { pointer: '', detail: `has more than ${maxSubschemas} parts` }

    for (const [keyword, rule] of Object.entries(rules)) {
      const fault = Object.hasOwn(value, keyword) ? rule(value[keyword]) : null
      if (fault) return at(fault, keyword)
    }
    if (!addPattern(value['pattern'])) return at(tooManyPatterns, 'pattern')
    if (Object.hasOwn(value, '$id') && pointer !== '') return at('may only stand at the root', '$id')
    if (Object.hasOwn(value, '$ref')) {
      const ref = value['$ref']
      if (typeof ref !== 'string' || !ref.startsWith('#')) return at('must point into this schema (#/…)', '$ref')
      const target = resolve(schema as JsonObject, ref)
      if (target === undefined) return at('points at nothing', '$ref')
      pending.push({
        value: target,
        pointer: ref.startsWith('#/') && atPointer(schema, ref.slice(1)) ? ref.slice(1) : ref,
      })
    }
    for (const keyword of schemaKeywords) {
      if (Object.hasOwn(value, keyword)) pending.push({ value: value[keyword], pointer: pointerTo(pointer, keyword) })
    }
    for (const keyword of listKeywords) {
      if (!Object.hasOwn(value, keyword)) continue
      const list = value[keyword]
      if (!Array.isArray(list) || list.length === 0) return at('must be a list of schemas', keyword)
      list.forEach((item, index) =>
        pending.push({ value: item, pointer: pointerTo(pointerTo(pointer, keyword), index) }),
      )
    }
    for (const keyword of mapKeywords) {
      if (!Object.hasOwn(value, keyword)) continue
      const map = value[keyword]
      if (!isObject(map)) return at('must be an object that holds schemas', keyword)
      for (const [name, item] of Object.entries(map)) {
        const fault = keyword === 'patternProperties' ? pattern(name) : null
        if (fault) return at(fault, keyword, name)
        if (keyword === 'patternProperties' && !addPattern(name)) return at(tooManyPatterns, keyword, name)
        pending.push({ value: item, pointer: pointerTo(pointerTo(pointer, keyword), name) })
      }
    }
  }
  return null
}
