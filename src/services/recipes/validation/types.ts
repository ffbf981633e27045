import type { Fault } from '../../../lib/errors.ts'
import { isObject } from '../../../lib/json.ts'
import { inferExpression, type TypeScope } from '../../../lib/language/infer.ts'
import { anyJson, either, inWords, isNever, listOf, mapOf, typeOf, type Type } from '../../../lib/language/types.ts'
import type { Kind } from '../../../lib/language/values.ts'
import { pointerTo } from '../../../lib/pointer.ts'
import type { Fields, Outline, StepPlace } from './outline.ts'
import { typeOfSchema } from './schema-type.ts'

const text = typeOf('string')
const number = typeOf('number')
const nothing = typeOf('null')
const orNull = (type: Type) => either(type, nothing)

/** A value above 256 KB stands in expressions as its handle. */
const handle: Type = {
  ...mapOf({}, true),
  unlisted: { $blob: text, size: number, sha256: text, media_type: text, count: number, pages: number },
}

/** What a field needs to be given. Anything else can only fail, or does the same whatever the values are. */
const wanted = {
  condition: { kinds: ['bool'], name: 'true or false' },
  list: { kinds: ['list'], name: 'a list' },
  object: { kinds: ['map'], name: 'an object' },
  time: { kinds: ['string', 'timestamp'], name: 'a time' },
} satisfies { [want: string]: { kinds: Kind[]; name: string } }

/** Fields that hold other steps, or schemas; the names of expressions in them mean something else. */
const foreign = new Set(['steps', 'cases', 'default', 'output_schema', 'payload_schema'])

/** Expressions that can never work, or never give what their field needs, as far as the types of their names are known. */
export function typeFaults(recipe: Fields, outline: Outline): Fault[] {
  const types = new RecipeTypes(recipe, outline)
  const faults = outline.all.flatMap((place) => faultsOfStep(place, types.scopeOf(place)))
  return [...faults, ...faultsIn(recipe['output'], '/output', types.scope)]
}

function faultsOfStep({ fields, kind, pointer }: StepPlace, scope: TypeScope): Fault[] {
  const faults = conditionFaults(fields['when'], `${pointer}/when`, scope)
  if (kind === 'branch' && Array.isArray(fields['cases']))
    for (const [index, item] of fields['cases'].entries())
      if (isObject(item)) faults.push(...conditionFaults(item['when'], `${pointer}/cases/${index}/when`, scope))
  for (const [name, value] of Object.entries(fields)) {
    if (foreign.has(name)) continue
    const want = wantOf(kind, name)
    faults.push(...faultsIn(value, pointerTo(pointer, name), scope, want))
  }
  return faults
}

function wantOf(kind: unknown, field: string): keyof typeof wanted | undefined {
  if (kind === 'foreach' && field === 'items') return 'list'
  if ((kind === 'tool' && field === 'arguments') || (kind === 'recipe' && field === 'input')) return 'object'
  if (kind === 'wait' && field === 'until') return 'time'
  return kind === 'wait' && field === 'match' ? 'condition' : undefined
}

const conditionFaults = (source: unknown, pointer: string, scope: TypeScope): Fault[] =>
  typeof source === 'string' ? faultsOf(source, pointer, scope, 'condition') : []

/** All expressions of a data field; one that is the whole field gives what the field is given. */
function faultsIn(value: unknown, pointer: string, scope: TypeScope, want?: keyof typeof wanted): Fault[] {
  if (typeof value !== 'object' || value === null) return []
  const { $expr: source } = value as Fields
  if (typeof source === 'string') return faultsOf(source, `${pointer}/$expr`, scope, want)
  return Object.entries(value).flatMap(([name, item]) => faultsIn(item, pointerTo(pointer, name), scope))
}

function faultsOf(source: string, pointer: string, scope: TypeScope, want?: keyof typeof wanted): Fault[] {
  const { type, faults } = inferExpression(source, scope)
  if (faults.length > 0) return faults.map(({ detail }) => ({ pointer, detail }))
  if (want === undefined || isNever(type)) return []
  const { kinds, name } = wanted[want]
  if (kinds.some((kind) => type.kinds.has(kind)) || (want === 'list' && mayBeHandle(type))) return []
  return [{ pointer, detail: `must be ${name}, and is ${inWords(type)}` }]
}

/** The handle of a list is as good as the list. */
const mayBeHandle = ({ kinds, members, closed, unlisted }: Type): boolean =>
  kinds.has('map') && (!closed || unlisted !== undefined || Object.hasOwn(members ?? {}, '$blob'))

/** The types of all that a recipe's expressions can name. */
class RecipeTypes {
  /** What every step sees; a loop variable comes to it. */
  readonly scope: TypeScope
  /** Of the foreach steps that hold others. */
  readonly #variables = new Map<StepPlace, Type>()

  constructor(recipe: Fields, { all }: Outline) {
    const steps: { [id: string]: Type } = {}
    this.scope = {
      input: typeOfSchema(recipe['inputs']),
      steps: { ...typeOf('map'), members: steps },
      run: mapOf({ id: text, started_at: text, slot_at: orNull(text) }),
      now: text,
      previous: orNull(mapOf({ finished_at: text })),
    }
    // In document order; a step that is named before it stands there, as a loop of jumps allows, may be anything.
    for (const place of all) {
      const scope = this.scopeOf(place)
      if (place.kind === 'foreach') this.#variables.set(place, itemOf(place, scope))
      if (place.id === null) continue
      const output = Object.hasOwn(steps, place.id) ? anyJson : outputOf(place, scope)
      steps[place.id] = mapOf({ status: text, output, error: orNull(mapOf({ kind: text, detail: text })) })
    }
  }

  scopeOf({ list }: StepPlace): TypeScope {
    const variables: { [name: string]: Type } = {}
    for (let above = list.parent; above; above = above.list.parent) {
      const name = above.fields['as']
      if (above.kind === 'foreach' && typeof name === 'string' && !Object.hasOwn(variables, name))
        variables[name] = this.#variables.get(above) ?? anyJson
    }
    return { ...this.scope, ...variables }
  }
}

const itemOf = ({ fields }: StepPlace, scope: TypeScope): Type => {
  const { kinds, items, members, unlisted } = treeType(fields['items'], scope)
  // The items behind a handle of our own are those of the list that it stands for.
  const isHandle = unlisted === handle.unlisted && Object.keys(members ?? {}).length === 0
  const isList = kinds.has('list') && (!kinds.has('map') || isHandle)
  return isList && items && !isNever(items) ? items : anyJson
}

/** Null where the step was skipped or failed; its handle where it may be large. */
function outputOf({ fields, kind }: StepPlace, scope: TypeScope): Type {
  switch (kind) {
    case 'http':
      return orNull(mapOf({ status: number, headers: typeOf('map') }))
    case 'llm':
    case 'agent': {
      const data = fields['output_schema'] === undefined ? anyJson : typeOfSchema(fields['output_schema'])
      return orNull(mapOf({ text, data, model: text, provider: text, rounds: number }))
    }
    case 'transform':
      return orNull(withHandle(treeType(fields['value'], scope)))
    case 'foreach':
      return orNull(withHandle(listOf(anyJson)))
    case 'wait':
      return fields['event'] === undefined ? nothing : anyJson
    case 'fail':
      return nothing
    default:
      return anyJson
  }
}

/** A map may be the one or the other: a name that neither of them has is still not there. */
function withHandle(type: Type): Type {
  if (!['string', 'list', 'map'].some((kind) => type.kinds.has(kind as Kind))) return type
  return type.kinds.has('map') ? { ...type, unlisted: handle.unlisted } : either(type, handle)
}

/** What a data field comes to. */
function treeType(value: unknown, scope: TypeScope): Type {
  if (typeof value === 'string') return /\{\{|\{%/.test(value) ? templateType(value) : text
  if (typeof value === 'number') return number
  if (typeof value === 'boolean') return typeOf('bool')
  if (value === null) return nothing
  if (Array.isArray(value)) return listOf(value.map((item) => treeType(item, scope)).reduce(either, typeOf()))
  if (!isObject(value)) return anyJson
  if (typeof value['$expr'] === 'string') return asJson(inferExpression(value['$expr'], scope).type)
  return mapOf(Object.fromEntries(Object.entries(value).map(([name, item]) => [name, treeType(item, scope)])), true)
}

/** One sole `{{ x }}` keeps the type of x; anything beside it makes text. */
const templateType = (template: string): Type => (/^\s*\{\{[^]*\}\}\s*$/.test(template) ? anyJson : text)

const inJson = new WeakMap<Type, Type>()

/** Times are text where they leave an expression. What always fails is told of in its place. */
function asJson(type: Type): Type {
  if (isNever(type)) return anyJson
  const known = inJson.get(type)
  if (known) return known
  const kinds = [...type.kinds].map((kind): Kind => (kind === 'timestamp' || kind === 'duration' ? 'string' : kind))
  const members = Object.entries(type.members ?? {}).map(([name, each]) => [name, asJson(each)] as const)
  const made = {
    ...type,
    kinds: new Set(kinds),
    items: type.items && !isNever(type.items) ? asJson(type.items) : type.items,
    members: type.members && Object.fromEntries(members),
  }
  // Types share parts, each of which is gone through once: as a tree they may be larger than anything can hold.
  inJson.set(type, made)
  inJson.set(made, made)
  return made
}
