import { Drop, type FilterImplOptions, filters as builtIn, toValue, toValueSync } from 'liquidjs'
import { canonicalJson, sha256Hex } from '../canonical.ts'
import { parseInstant } from './instant.ts'
import { isCompound, numberOf, scalarOf } from './liquid-scalars.ts'
import { weigh } from './liquid-weight.ts'
import { LanguageError } from './scope.ts'

type Handler = Extract<FilterImplOptions, (...args: never[]) => unknown>
type FilterContext = ThisParameterType<Handler>

/**
 * The filters that stay: pure, deterministic and synchronous. Left out are `sample` (random), the `*_exp` filters
 * (they run text as code), `raw` and those that only repeat another.
 */
const kept = [
  'abs',
  'append',
  'array_to_sentence_string',
  'at_least',
  'at_most',
  'base64_decode',
  'base64_encode',
  'capitalize',
  'ceil',
  'compact',
  'concat',
  'default',
  'divided_by',
  'downcase',
  'escape',
  'escape_once',
  'find',
  'first',
  'floor',
  'group_by',
  'has',
  'join',
  'last',
  'lstrip',
  'map',
  'minus',
  'modulo',
  'newline_to_br',
  'number_of_words',
  'plus',
  'pop',
  'prepend',
  'push',
  'reject',
  'remove',
  'remove_first',
  'remove_last',
  'replace',
  'replace_first',
  'replace_last',
  'reverse',
  'round',
  'rstrip',
  'shift',
  'size',
  'slice',
  'slugify',
  'sort',
  'sort_natural',
  'split',
  'squish',
  'strip',
  'strip_html',
  'strip_newlines',
  'sum',
  'times',
  'to_integer',
  'truncate',
  'truncatewords',
  'uniq',
  'unshift',
  'upcase',
  'url_decode',
  'url_encode',
  'where',
]

/** These read a property of every element, which costs far more than to copy the element: in copied characters. */
const perElement: { [name: string]: number } = {
  find: 400,
  group_by: 400,
  has: 400,
  map: 150,
  reject: 400,
  sort: 150,
  sort_natural: 200,
  sum: 150,
  where: 400,
}
/** These copy references, and look at nothing inside. */
const perReference = new Set([
  'compact',
  'default',
  'first',
  'last',
  'pop',
  'reverse',
  'shift',
  'size',
  'slice',
  'uniq',
])
/** These put one list into another: only so can a few tags make a list that unfolds into millions of elements. */
const nesting = new Set(['concat', 'push', 'unshift'])
/** These search a text for another one, which at worst compares all of it at every place. */
const searching = new Set([
  'remove',
  'remove_first',
  'remove_last',
  'replace',
  'replace_first',
  'replace_last',
  'split',
])

/** These do more for each character than to copy it: as many characters could be copied meanwhile. */
const perCharacter: { [name: string]: number } = {
  escape: 10,
  escape_once: 10,
  url_encode: 10,
  slugify: 10,
  squish: 8,
  base64_encode: 4,
  base64_decode: 4,
  number_of_words: 6,
  truncatewords: 6,
  remove: 4,
  lstrip: 4,
  rstrip: 4,
  strip: 4,
  strip_html: 3,
}

/** These make a set of the characters that they are given, and look into it for each one of the text. */
const trimming = new Set(['lstrip', 'rstrip', 'strip'])
/** These compare what they find, or read it as a number: so often for each of its characters. */
const comparing: { [name: string]: number } = { sort: 1, sort_natural: 6, sum: 1 }

/** Which arguments of a filter may be lists and objects. Of all others JavaScript would make a text, unseen. */
const takesAnything: { [name: string]: number[] } = {
  concat: [0],
  // The second says by its name whether false is a value, which the engine hands over as a list of the two.
  default: [0, 1],
  find: [1],
  has: [1],
  push: [0],
  reject: [1],
  unshift: [0],
  where: [1],
}
/** Which are numbers that the engine counts up to: a text would be read as one at each step. */
const takesNumbers: { [name: string]: number[] } = { slice: [0, 1], truncate: [0], truncatewords: [0] }

/** Any call, in copied characters. */
const callCost = 30

/** Counts what a filter reads, which the engine counts for only some of them. */
function metered(name: string, handler: Handler): Handler {
  return function (this: FilterContext, value: unknown, ...given: unknown[]) {
    const use = (units: number) => this.context.memoryLimit.use(units)
    use(callCost)
    const args = argumentsOf(name, given, use)
    if (name in perElement) use(costPerElement(name, args, use) * elementsOf(name, value))
    else if (perReference.has(name)) {
      use(typeof value === 'string' ? value.length : 10 * lengthOf(value))
      for (const arg of args) use(lengthOf(arg))
    } else if (nesting.has(name)) {
      use(10 * lengthOf(value))
      for (const arg of args) weigh(arg, use)
    } else {
      // All others make text of what they are given.
      let length = 0
      const add = (units: number) => {
        length += units
        use(units)
      }
      weigh(value, add, 'text')
      use(length * (perCharacter[name] ?? 0))
      if (trimming.has(name) && args.length > 0) use(20 * (length + lengthOf(args[0])))
      if (searching.has(name)) use((length * lengthOf(args[0])) / 50)
    }
    if (name in comparing) weighFound.call(this, name, value, args[0])
    const result: unknown = handler.call(this, value, ...args)
    if (name === 'split') use(4 * lengthOf(result))
    return result
  }
}

const lengthOf = (value: unknown): number => (typeof value === 'string' || Array.isArray(value) ? value.length : 1)

/** Of an object it takes one, except where it goes over the members. */
const elementsOf = (name: string, value: unknown): number =>
  name === 'group_by' && isCompound(value) && !Array.isArray(value) ? Object.keys(value).length : lengthOf(value)

/** The arguments as the engine may see them. */
function argumentsOf(name: string, given: unknown[], use: (units: number) => void): unknown[] {
  return given.map((arg, position) => {
    if (takesNumbers[name]?.includes(position)) return numberOf(arg, name)
    if (!takesAnything[name]?.includes(position)) return scalarOf(arg, name, use)
    // In a list, `empty` would compare itself with whatever the list is compared with.
    return nesting.has(name) ? toValue(arg) : arg
  })
}

/** What a filter finds in the elements and compares, or adds up. */
function weighFound(this: FilterContext, name: string, value: unknown, property: unknown): void {
  const list: unknown = toValue(value)
  for (const item of Array.isArray(list) ? list : [list]) {
    const found: unknown = property
      ? toValueSync(this.context._getFromScope(item, String(property), false) as IterableIterator<unknown>)
      : item
    scalarOf(found, name, (units) => this.context.memoryLimit.use(units * comparing[name]!))
  }
}

function costPerElement(name: string, args: unknown[], use: (units: number) => void): number {
  const [property, expected] = args
  const path = typeof property === 'string' ? property : ''
  // The engine reads a path as it reads templates, where numbers that are too large to count with make a range endless.
  if (path.includes('(') && path.includes('..')) throw new LanguageError(`${name}: a property is named by its path.`)
  // To find out what is empty, the engine would list the members of each object that it comes to.
  if (expected instanceof Drop && expected.valueOf() === '')
    throw new LanguageError(`${name} compares with a value, not with empty or blank.`)
  let ofExpected = 0
  if (Array.isArray(expected))
    weigh(expected, (units) => {
      ofExpected += units
      use(units)
    })
  return perElement[name]! + path.length * 10 + ofExpected
}

function handlerOf(name: string): Handler {
  const filter = builtIn[name]
  if (typeof filter === 'function') return filter
  if (filter?.handler) return filter.handler
  throw new Error(`The template engine has no filter '${name}'.`)
}

/** A date takes as long as thousands of copied characters. */
const dateCost: { [name: string]: number } = { date: 16_000, date_to_xmlschema: 16_000, date_to_rfc822: 28_000 }

/** Dates are read as expressions read them: never the clock, never the machine's zone. UTC unless a zone is given. */
function dateFilter(name: string): Handler {
  const handler = handlerOf(name)
  return function (this: FilterContext, value: unknown, ...given: unknown[]) {
    const use = (units: number) => this.context.memoryLimit.use(units)
    use(dateCost[name]!)
    const args = argumentsOf(name, given, use)
    weigh(value, use, 'text')
    if (value === undefined || value === null || value === '') return ''
    if (value === 'now' || value === 'today') {
      throw new LanguageError(`'${value}' is the machine's clock; write {{ now | ${name} }} for the run's instant.`)
    }
    const instant = typeof value === 'number' ? value * 1000 : parseInstant(String(value))
    if (instant === null || Math.abs(instant) > 8.64e15) {
      throw new LanguageError(`${name}: '${String(value).slice(0, 40)}' is not an ISO-8601 date or time with a zone.`)
    }
    return handler.call(this, new Date(instant).toISOString(), ...args)
  }
}

function jsonFilter(this: FilterContext, value: unknown, indent: unknown): string {
  weigh(value, (units) => this.context.memoryLimit.use(units))
  const text = JSON.stringify(value ?? null, null, typeof indent === 'number' ? indent : 0)
  this.context.memoryLimit.use(text.length)
  return text
}

function hashFilter(this: FilterContext, value: unknown): string {
  weigh(value, (units) => this.context.memoryLimit.use(units))
  const text = canonicalJson(value ?? null)
  this.context.memoryLimit.use(text.length * 4)
  return sha256Hex(text)
}

function sha256Filter(this: FilterContext, value: unknown): string {
  weigh(value, (units) => this.context.memoryLimit.use(units))
  const text = typeof value === 'string' ? value : JSON.stringify(value ?? '')
  this.context.memoryLimit.use(text.length * 4)
  return sha256Hex(text)
}

/** A filter of ours, whose arguments are held to what holds for all. */
function ofScalars(name: string, filter: (this: FilterContext, value: unknown, arg: unknown) => string): Handler {
  return function (this: FilterContext, value: unknown, ...given: unknown[]) {
    const args = argumentsOf(name, given, (units) => this.context.memoryLimit.use(units))
    return filter.call(this, value, args[0])
  }
}

/** Every filter that a template can use. */
export const liquidFilters: Record<string, Handler> = {
  ...Object.fromEntries(kept.map((name) => [name, metered(name, handlerOf(name))])),
  date: dateFilter('date'),
  date_to_xmlschema: dateFilter('date_to_xmlschema'),
  date_to_rfc822: dateFilter('date_to_rfc822'),
  json: ofScalars('json', jsonFilter),
  hash: ofScalars('hash', hashFilter),
  sha256: ofScalars('sha256', sha256Filter),
}
