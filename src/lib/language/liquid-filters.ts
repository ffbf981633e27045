import { type FilterImplOptions, filters as builtIn } from 'liquidjs'
import { canonicalJson, sha256Hex } from '../canonical.ts'
import { parseInstant } from './instant.ts'
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
}

/** Any call, in copied characters. */
const callCost = 30

/** Counts what a filter reads, which the engine counts for only some of them. */
function metered(name: string, handler: Handler): Handler {
  return function (this: FilterContext, value: unknown, ...args: unknown[]) {
    const use = (units: number) => this.context.memoryLimit.use(units)
    use(callCost)
    if (name in perElement) use(costPerElement(name, args, use) * lengthOf(value))
    else if (perReference.has(name)) use(typeof value === 'string' ? value.length : 10 * lengthOf(value))
    else if (nesting.has(name)) {
      use(10 * lengthOf(value))
      for (const arg of args) weigh(arg, use)
    } else {
      // All others make text of what they are given.
      for (const each of [value, ...args]) weigh(each, use, 'text')
      use(lengthOf(value) * (perCharacter[name] ?? 0))
      if (searching.has(name)) use((lengthOf(value) * lengthOf(args[0])) / 50)
    }
    if (name === 'sort' || name === 'sort_natural' || name === 'sum') weigh(value, use, 'text')
    const result: unknown = handler.call(this, value, ...args)
    if (name === 'split') use(4 * lengthOf(result))
    return result
  }
}

const lengthOf = (value: unknown): number => (typeof value === 'string' || Array.isArray(value) ? value.length : 1)

function costPerElement(name: string, args: unknown[], use: (units: number) => void): number {
  const [property, expected] = args
  if (Array.isArray(property)) throw new LanguageError(`${name}: a property is named by a text.`)
  const path = typeof property === 'string' ? property : ''
  // The engine reads a path as it reads templates, where numbers that are too large to count with make a range endless.
  if (path.includes('(') && path.includes('..')) throw new LanguageError(`${name}: a property is named by its path.`)
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

/** A date in a zone takes as long as thousands of copied characters. */
const dateCost = 4000

/** Dates are read as expressions read them: never the clock, never the machine's zone. UTC unless a zone is given. */
function dateFilter(name: string): Handler {
  const handler = handlerOf(name)
  return function (this: FilterContext, value: unknown, ...args: unknown[]) {
    this.context.memoryLimit.use(dateCost)
    for (const each of [value, ...args]) weigh(each, (units) => this.context.memoryLimit.use(units), 'text')
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

/** Every filter that a template can use. */
export const liquidFilters: Record<string, Handler> = {
  ...Object.fromEntries(kept.map((name) => [name, metered(name, handlerOf(name))])),
  date: dateFilter('date'),
  date_to_xmlschema: dateFilter('date_to_xmlschema'),
  date_to_rfc822: dateFilter('date_to_rfc822'),
  json: jsonFilter,
  hash: hashFilter,
  sha256: sha256Filter,
}
