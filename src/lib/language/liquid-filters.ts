import { type FilterImplOptions, filters as builtIn } from 'liquidjs'
import { canonicalJson, sha256Hex } from '../canonical.ts'
import { parseInstant } from './instant.ts'
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

/** These evaluate a property of every element, which costs far more than to copy the element. */
const perElement = ['find', 'group_by', 'has', 'map', 'reject', 'sort', 'sort_natural', 'sum', 'where']

/** Counts what a filter reads, which the engine counts for only some of them. */
function metered(name: string, handler: Handler): Handler {
  const elementCost = perElement.includes(name) ? 100 : 10
  return function (this: FilterContext, value: unknown, ...args: unknown[]) {
    this.context.memoryLimit.use(costOf(value, elementCost))
    return handler.call(this, value, ...args)
  }
}

function costOf(value: unknown, elementCost: number): number {
  if (Array.isArray(value)) return 1 + value.length * elementCost
  return typeof value === 'string' ? 1 + value.length : 1
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
  const text = JSON.stringify(value ?? null, null, typeof indent === 'number' ? indent : 0)
  this.context.memoryLimit.use(text.length)
  return text
}

function hashFilter(this: FilterContext, value: unknown): string {
  const text = canonicalJson(value ?? null)
  this.context.memoryLimit.use(text.length * 4)
  return sha256Hex(text)
}

function sha256Filter(this: FilterContext, value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value ?? '')
  this.context.memoryLimit.use(text.length)
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
