import { canonicalJson } from '../canonical.ts'
import { isObject, type Json } from '../json.ts'
import { type TypeName } from './shared.ts'

export const articles: Record<TypeName, string> = {
  null: 'null',
  boolean: 'true or false',
  object: 'an object',
  array: 'a list',
  number: 'a number',
  string: 'a text',
  integer: 'a whole number',
}

export function isOfType(value: Json, name: TypeName): boolean {
  if (name === 'null') return value === null
  if (name === 'array') return Array.isArray(value)
  if (name === 'object') return isObject(value)
  if (name === 'integer') return Number.isInteger(value)
  return typeof value === name
}

/** Decimal fractions are not exact in binary: 0.3 is a multiple of 0.1 for every reader but the processor. */
export function isMultiple(value: number, of: number): boolean {
  const quotient = value / of
  return (
    Number.isFinite(quotient) && Math.abs(quotient - Math.round(quotient)) <= 1e-12 * Math.max(1, Math.abs(quotient))
  )
}

type Spend = (cost: number) => void

/** Leaves at the first difference. What it has looked at is counted: many subschemas may name one large value. */
export function equal(a: unknown, b: unknown, spend: Spend): boolean {
  if (typeof a === 'string' && typeof b === 'string' && a.length === b.length) spend(a.length / 2_000)
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b
  if (Array.isArray(a) !== Array.isArray(b)) return false
  const [left, right] = [a as Record<string, unknown>, b as Record<string, unknown>]
  const names = Object.keys(right)
  spend(names.length)
  return (
    Object.keys(left).length === names.length &&
    names.every((name) => Object.hasOwn(left, name) && equal(left[name], right[name], spend))
  )
}

/** Counts what writing a value as text takes. */
export function weightOf(value: unknown, spend: Spend): void {
  if (typeof value === 'string') return spend(1 + value.length / 100)
  spend(1)
  if (Array.isArray(value)) for (const item of value) weightOf(item, spend)
  else if (isObject(value))
    for (const [name, item] of Object.entries(value)) {
      spend(1 + name.length / 100)
      weightOf(item, spend)
    }
}

const longest = 60

export function short(value: unknown): string {
  const text = canonicalJson(beginningOf(value))
  return text.length > longest ? `${text.slice(0, longest - 3)}…` : text
}

/** As much of a value as the beginning of its text shows: a long one is not written down to be cut off. */
function beginningOf(value: unknown): unknown {
  if (typeof value === 'string') return value.slice(0, longest)
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.slice(0, longest).map(beginningOf)
  const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(
    entries.slice(0, longest).map(([name, item]) => [name.slice(0, longest), beginningOf(item)]),
  )
}
