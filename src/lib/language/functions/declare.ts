import type { Budget } from '../budget.ts'
import { LanguageError } from '../scope.ts'
import { Duration, instantOf, isMap, kindOf, type Value, type ValueMap } from '../values.ts'

/** A function of expressions: `f(x, y)` and `x.f(y)` are the same call. */
export interface FunctionDeclaration {
  min: number
  max: number
  /** What can be said about the literal arguments (undefined where an argument is no literal) when it is written. */
  check?: (literals: unknown[]) => string | undefined
  call: (args: Value[], budget: Budget) => Value
}

export type FunctionTable = Record<string, FunctionDeclaration>

/** A function of between `min` and `max` arguments. */
export function takes(min: number, max: number, call: FunctionDeclaration['call']): FunctionDeclaration {
  return { min, max, call }
}

function wrong(name: string, wanted: string, value: Value | undefined): LanguageError {
  return new LanguageError(`${name}() wants ${wanted}, not a ${kindOf(value ?? null)}.`)
}

export function textArg(name: string, value: Value | undefined): string {
  if (typeof value === 'string') return value
  throw wrong(name, 'a string', value)
}

export function numberArg(name: string, value: Value | undefined): number {
  if (typeof value === 'number') return value
  throw wrong(name, 'a number', value)
}

export function wholeArg(name: string, value: Value | undefined): number {
  if (typeof value === 'number' && Number.isSafeInteger(value)) return value
  throw wrong(name, 'a whole number', value)
}

export function listArg(name: string, value: Value | undefined): Value[] {
  if (Array.isArray(value)) return value
  throw wrong(name, 'a list', value)
}

export function mapArg(name: string, value: Value | undefined): ValueMap {
  if (value !== undefined && isMap(value)) return value
  throw wrong(name, 'a map', value)
}

export function instantArg(name: string, value: Value | undefined): number {
  const instant = value === undefined ? undefined : instantOf(value)
  if (instant !== undefined) return instant
  throw wrong(name, 'a timestamp or its ISO text', value)
}

export function isDuration(value: Value | undefined): value is Duration {
  return value instanceof Duration
}
