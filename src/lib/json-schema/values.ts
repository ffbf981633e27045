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

/** Leaves at the first difference, so its cost is bounded by the value in the schema. */
export function equal(a: unknown, b: unknown): boolean {
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b
  if (Array.isArray(a) !== Array.isArray(b)) return false
  const [left, right] = [a as Record<string, unknown>, b as Record<string, unknown>]
  const names = Object.keys(right)
  return (
    Object.keys(left).length === names.length &&
    names.every((name) => Object.hasOwn(left, name) && equal(left[name], right[name]))
  )
}

export function short(value: unknown): string {
  const text = canonicalJson(value)
  return text.length > 60 ? `${text.slice(0, 57)}…` : text
}
