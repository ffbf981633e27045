import { canonicalJson } from '../canonical.ts'
import type { Fault } from '../errors.ts'
import { isObject, type Json, type JsonObject } from '../json.ts'
import { pointerTo, shortPointer } from '../pointer.ts'
import { formats } from './formats.ts'
import type { LinearRegex } from '../regex/program.ts'
import { patternOf } from './patterns.ts'
import { resolve, type TypeName } from './shared.ts'
import { articles, equal, isMultiple, isOfType, short, weightOf } from './values.ts'

// References can make a small schema take exponential time or go in circles: a check is cut off here. Whatever a keyword
// walks over is counted, not only subschemas: thousands of them can name one long list.
const maxCost = 400_000
/** To list one name of a member, or to look for it. */
const nameCost = 0.12
const maxDepth = 300
const maxFaults = 100
const maxDetail = 1_000

class TooMuch extends Error {}

/** Which members of an object or list some subschema has looked at: what `unevaluated…` leaves alone. */
interface Seen {
  properties: Set<string>
  items: Set<number>
}

/** All faults of a value under a schema that checkSchema accepts; no fault means valid. Stops at 100 faults. */
export function validateJson(schema: JsonObject, value: Json): Fault[] {
  try {
    const faults = new Validation(schema).faultsOf(schema, value)
    return faults.slice(0, maxFaults).map(({ pointer, detail }) => ({
      pointer: shortPointer(pointer),
      detail: detail.length > maxDetail ? `${detail.slice(0, maxDetail)}…` : detail,
    }))
  } catch (error) {
    if (error instanceof TooMuch || error instanceof RangeError) {
      return [{ pointer: '', detail: 'is too large or too deep to be checked against its schema' }]
    }
    throw error
  }
}

class Validation {
  readonly #root: JsonObject
  readonly #targets = new Map<string, unknown>()
  /** Those that a schema has may be more than the cache of the process holds. */
  readonly #patterns = new Map<string, LinearRegex>()
  /** What a subschema allows, in words: made once, however often a value is not that. */
  readonly #allowed = new Map<Record<string, unknown>, string>()
  #spent = 0
  /** Whether anything asks for what has been looked at. */
  readonly #tracks: boolean

  constructor(root: JsonObject) {
    this.#root = root
    this.#tracks = asksWhatIsSeen(root)
  }

  faultsOf(schema: unknown, value: Json, pointer = '', depth = 0, seen: Seen = noneSeen()): Fault[] {
    this.#spend(1)
    if (schema === true) return []
    if (schema === false) return [{ pointer, detail: 'is not allowed' }]
    if (!isObject(schema)) return []
    if (depth > maxDepth) throw new TooMuch()
    const faults: Fault[] = []
    const at = { schema, pointer, depth, seen, faults }
    this.#any(at, value)
    if (typeof value === 'string') this.#text(at, value)
    else if (typeof value === 'number') this.#number(at, value)
    else if (Array.isArray(value)) this.#list(at, value)
    else if (value !== null && typeof value === 'object') this.#object(at, value)
    this.#combinations(at, value)
    if (Array.isArray(value)) this.#unevaluatedItems(at, value)
    else if (isObject(value)) this.#unevaluatedProperties(at, value)
    return faults
  }

  #any({ schema, pointer, faults }: Place, value: Json): void {
    const { type } = schema
    const types = (Array.isArray(type) ? type : type === undefined ? [] : [type]) as TypeName[]
    this.#spend(types.length / 10)
    if (types.length > 0 && !types.some((name) => isOfType(value, name))) {
      faults.push({ pointer, detail: `must be ${types.map((name) => articles[name]).join(' or ')}` })
    }
    if (Object.hasOwn(schema, 'const') && !equal(value, schema['const'], this.#spend)) {
      faults.push({ pointer, detail: `must be ${short(schema['const'])}` })
    }
    const allowed = schema['enum']
    if (Array.isArray(allowed)) {
      this.#spend(allowed.length / 10)
      if (!allowed.some((item) => equal(value, item, this.#spend)))
        faults.push({ pointer, detail: `must be one of ${this.#allowedBy(schema, allowed)}` })
    }
  }

  #text({ schema, pointer, faults }: Place, value: string): void {
    const { minLength, maxLength, pattern, format } = schema
    if (typeof minLength === 'number' && this.#lengthOf(value, minLength) < minLength)
      faults.push({ pointer, detail: `must have at least ${minLength} characters` })
    if (typeof maxLength === 'number' && this.#lengthOf(value, maxLength) > maxLength)
      faults.push({ pointer, detail: `must have at most ${maxLength} characters` })
    if (typeof pattern === 'string' && !this.#matches(pattern, value))
      faults.push({ pointer, detail: `must match ${pattern}` })
    const known = typeof format === 'string' && Object.hasOwn(formats, format) ? formats[format] : undefined
    if (!known) return
    this.#spend(known.cost + value.length / 100)
    if (!known.is(value)) faults.push({ pointer, detail: `must be ${known.named}` })
  }

  /** Characters are code points here, not UTF-16 units, of which one takes two at most: mostly that decides already. */
  #lengthOf(value: string, limit: number): number {
    if (value.length < limit || value.length > 2 * limit) return value.length
    this.#spend(value.length / 30)
    let length = 0
    for (const _ of value) length++
    return length
  }

  #allowedBy(schema: Record<string, unknown>, values: unknown[]): string {
    const known = this.#allowed.get(schema)
    if (known !== undefined) return known
    const words = values.slice(0, 20).map(short).join(', ')
    this.#allowed.set(schema, words)
    return words
  }

  #number({ schema, pointer, faults }: Place, value: number): void {
    const { minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf } = schema
    if (typeof minimum === 'number' && value < minimum) faults.push({ pointer, detail: `must be at least ${minimum}` })
    if (typeof maximum === 'number' && value > maximum) faults.push({ pointer, detail: `must be at most ${maximum}` })
    if (typeof exclusiveMinimum === 'number' && value <= exclusiveMinimum)
      faults.push({ pointer, detail: `must be above ${exclusiveMinimum}` })
    if (typeof exclusiveMaximum === 'number' && value >= exclusiveMaximum)
      faults.push({ pointer, detail: `must be below ${exclusiveMaximum}` })
    if (typeof multipleOf === 'number' && !isMultiple(value, multipleOf))
      faults.push({ pointer, detail: `must be a multiple of ${multipleOf}` })
  }

  #list(at: Place, value: Json[]): void {
    const { schema, pointer, seen, faults } = at
    const { minItems, maxItems, prefixItems, items, contains } = schema
    if (typeof minItems === 'number' && value.length < minItems)
      faults.push({ pointer, detail: `must have at least ${minItems} items` })
    if (typeof maxItems === 'number' && value.length > maxItems)
      faults.push({ pointer, detail: `must have at most ${maxItems} items` })
    if (schema['uniqueItems'] === true) {
      weightOf(value, this.#spend)
      if (new Set(value.map(canonicalJson)).size < value.length)
        faults.push({ pointer, detail: 'must not hold an item twice' })
    }
    const prefix = Array.isArray(prefixItems) ? prefixItems : []
    const checked = items === undefined ? Math.min(prefix.length, value.length) : value.length
    for (let index = 0; index < checked; index++) {
      if (this.#tracks) seen.items.add(index)
      faults.push(...this.#below(at, index < prefix.length ? prefix[index] : items, value[index]!, index))
      if (faults.length > maxFaults) return
    }
    if (contains === undefined) return
    const matches = [...value.entries()].filter(([index, item]) => this.#below(at, contains, item, index).length === 0)
    for (const [index] of matches) seen.items.add(index)
    const { minContains = 1, maxContains } = schema as { minContains?: number; maxContains?: number }
    if (matches.length < minContains)
      faults.push({ pointer, detail: `must hold at least ${minContains} matching items` })
    if (maxContains !== undefined && matches.length > maxContains)
      faults.push({ pointer, detail: `must hold at most ${maxContains} matching items` })
  }

  #object(at: Place, value: JsonObject): void {
    const { schema, pointer, seen, faults } = at
    const { minProperties, maxProperties, additionalProperties, propertyNames } = schema
    const names = Object.keys(value)
    // Those of a large object are listed from a table.
    this.#spend(names.length * (names.length > 1_000 ? 0.5 : nameCost))
    if (typeof minProperties === 'number' && names.length < minProperties)
      faults.push({ pointer, detail: `must have at least ${minProperties} members` })
    if (typeof maxProperties === 'number' && names.length > maxProperties)
      faults.push({ pointer, detail: `must have at most ${maxProperties} members` })
    for (const name of this.#textsOf(schema['required'])) {
      if (!Object.hasOwn(value, name)) faults.push(this.#missing(pointer, name, 'is required'))
    }
    for (const [name, needed] of this.#entriesOf(schema['dependentRequired'])) {
      if (!Object.hasOwn(value, name)) continue
      for (const other of this.#textsOf(needed)) {
        if (!Object.hasOwn(value, other))
          faults.push(this.#missing(pointer, other, `is required where ${name} is given`))
      }
    }
    const properties = isObject(schema['properties']) ? schema['properties'] : {}
    const patterns = this.#entriesOf(schema['patternProperties'])
    const hasRules = [schema['properties'], schema['patternProperties'], additionalProperties, propertyNames]
    for (const name of hasRules.some((rule) => rule !== undefined) ? names : []) {
      const schemas = patterns.filter(([source]) => this.#matches(source, name)).map(([, item]) => item)
      if (Object.hasOwn(properties, name)) schemas.push(properties[name])
      if (schemas.length === 0 && additionalProperties !== undefined) schemas.push(additionalProperties)
      if (this.#tracks && schemas.length > 0) seen.properties.add(name)
      for (const item of schemas) faults.push(...this.#below(at, item, value[name]!, name))
      if (propertyNames !== undefined && this.#below(at, propertyNames, name, name).length > 0) {
        faults.push({ pointer: pointerTo(pointer, name), detail: 'is not an allowed name' })
      }
      if (faults.length > maxFaults) return
    }
    for (const [name, item] of this.#entriesOf(schema['dependentSchemas'])) {
      if (Object.hasOwn(value, name)) faults.push(...this.#same(at, item, value))
    }
  }

  #combinations(at: Place, value: Json): void {
    const { schema, pointer, faults } = at
    const { $ref, allOf, anyOf, oneOf } = schema
    if (typeof $ref === 'string') faults.push(...this.#same(at, this.#target($ref), value))
    if (Array.isArray(allOf)) for (const item of allOf) faults.push(...this.#same(at, item, value))
    if (Array.isArray(anyOf)) {
      // Each is evaluated, although one would do: `unevaluated…` counts what every matching one has seen.
      const attempts = anyOf.map((item) => this.#same(at, item, value))
      if (attempts.every((attempt) => attempt.length > 0)) faults.push(noneOf(pointer, attempts))
    }
    if (Array.isArray(oneOf)) {
      const attempts = oneOf.map((item) => this.#same(at, item, value))
      const matches = attempts.filter((attempt) => attempt.length === 0).length
      if (matches === 0) faults.push(noneOf(pointer, attempts))
      if (matches > 1) faults.push({ pointer, detail: `must match exactly one of the allowed shapes, not ${matches}` })
    }
    if (Object.hasOwn(schema, 'not') && this.faultsOf(schema['not'], value, pointer, at.depth + 1).length === 0) {
      faults.push({ pointer, detail: 'has a shape that is not allowed' })
    }
    if (Object.hasOwn(schema, 'if')) {
      const branch = this.#same(at, schema['if'], value).length === 0 ? 'then' : 'else'
      if (Object.hasOwn(schema, branch)) faults.push(...this.#same(at, schema[branch], value))
    }
  }

  #unevaluatedItems(at: Place, value: Json[]): void {
    const { schema, seen, faults } = at
    if (!Object.hasOwn(schema, 'unevaluatedItems')) return
    this.#spend(value.length / 2)
    for (const [index, item] of value.entries()) {
      if (!seen.items.has(index)) faults.push(...this.#below(at, schema['unevaluatedItems'], item, index))
      seen.items.add(index)
    }
  }

  #unevaluatedProperties(at: Place, value: JsonObject): void {
    const { schema, seen, faults } = at
    if (!Object.hasOwn(schema, 'unevaluatedProperties')) return
    this.#spend(seen.properties.size)
    for (const [name, item] of Object.entries(value)) {
      if (!seen.properties.has(name)) faults.push(...this.#below(at, schema['unevaluatedProperties'], item, name))
      seen.properties.add(name)
    }
  }

  #target(ref: string): unknown {
    if (!this.#targets.has(ref)) this.#targets.set(ref, resolve(this.#root, ref))
    return this.#targets.get(ref)
  }

  #matches(source: string, text: string): boolean {
    let pattern = this.#patterns.get(source)
    if (!pattern) {
      this.#patterns.set(source, (pattern = patternOf(source)))
      // Whether it had to be compiled for this is the matter of a cache, and must decide nothing.
      this.#spend(pattern.size / 5)
    }
    this.#spend(3)
    return pattern.test(text, (steps) => this.#spend(steps / 6))
  }

  /** One unit is about what evaluating one schema against one value takes. */
  readonly #spend = (cost: number): void => {
    this.#spent += cost
    if (this.#spent > maxCost) throw new TooMuch()
  }

  #textsOf(value: unknown): string[] {
    if (!Array.isArray(value)) return []
    this.#spend(value.length * nameCost)
    return value.filter((item) => typeof item === 'string')
  }

  /** To tell of a name takes much longer than to look for it. */
  #missing(pointer: string, name: string, detail: string): Fault {
    this.#spend(1)
    return { pointer: pointerTo(pointer, name), detail }
  }

  #entriesOf(value: unknown): [string, unknown][] {
    if (!isObject(value)) return []
    const entries = Object.entries(value)
    this.#spend(entries.length / 5)
    return entries
  }

  #below({ pointer, depth }: Place, schema: unknown, value: Json, key: string | number): Fault[] {
    return this.faultsOf(schema, value, pointerTo(pointer, key), depth + 1)
  }

  /** Applies another schema to the same value; what it has seen counts only if it matches. */
  #same({ pointer, depth, seen }: Place, schema: unknown, value: Json): Fault[] {
    const own = noneSeen()
    const faults = this.faultsOf(schema, value, pointer, depth + 1, own)
    if (faults.length === 0) {
      this.#spend((own.properties.size + own.items.size) / 3)
      for (const name of own.properties) seen.properties.add(name)
      for (const index of own.items) seen.items.add(index)
    }
    return faults
  }
}

interface Place {
  schema: Record<string, unknown>
  pointer: string
  depth: number
  seen: Seen
  faults: Fault[]
}

/** The attempt that came closest tells the reader the most. */
function noneOf(pointer: string, attempts: Fault[][]): Fault {
  const closest = attempts.reduce((best, attempt) => (attempt.length < best.length ? attempt : best))[0]
  const where = closest && closest.pointer !== pointer ? `${closest.pointer.slice(pointer.length)} ` : ''
  return { pointer, detail: `matches none of the allowed shapes (${where}${closest?.detail ?? 'nothing is allowed'})` }
}

const asking = new WeakMap<JsonObject, boolean>()

function asksWhatIsSeen(root: JsonObject): boolean {
  const known = asking.get(root) ?? JSON.stringify(root).includes('unevaluated')
  asking.set(root, known)
  return known
}

const noneSeen = (): Seen => ({ properties: new Set(), items: new Set() })
