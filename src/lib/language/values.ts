import { formatDuration } from '../duration.ts'
import type { Json } from '../json.ts'
import { type Budget, BudgetError, maxResultDepth, maxResultSize } from './budget.ts'
import { isoText, parseInstant } from './instant.ts'
import { LanguageError } from './scope.ts'

/** An instant inside an expression; it becomes an ISO string where the result leaves it. */
export class Timestamp {
  readonly ms: number
  constructor(ms: number) {
    if (!(ms >= -62_135_596_800_000 && ms <= 253_402_300_799_999)) {
      throw new LanguageError('A timestamp must lie between the years 1 and 9999.')
    }
    this.ms = ms
  }
}

export class Duration {
  readonly ms: number
  constructor(ms: number) {
    if (!Number.isSafeInteger(ms)) throw new LanguageError('A duration must be a whole number of milliseconds.')
    this.ms = ms
  }
}

/** What an expression computes with: JSON, instants and durations. There is one kind of number. */
export type Value = null | boolean | number | string | Timestamp | Duration | Value[] | ValueMap
export type ValueMap = { [key: string]: Value }

export type Kind = 'null' | 'bool' | 'number' | 'string' | 'list' | 'map' | 'timestamp' | 'duration'

export function kindOf(value: Value): Kind {
  if (value === null) return 'null'
  if (typeof value === 'boolean') return 'bool'
  if (typeof value === 'number') return 'number'
  if (typeof value === 'string') return 'string'
  if (Array.isArray(value)) return 'list'
  if (value instanceof Timestamp) return 'timestamp'
  if (value instanceof Duration) return 'duration'
  return 'map'
}

export function isMap(value: Value): value is ValueMap {
  return kindOf(value) === 'map'
}

/** Assignment would call the setter of `__proto__`; data may carry that name, so it is defined instead. */
export function setOwn<T>(map: { [key: string]: T }, key: string, value: T): void {
  if (key !== '__proto__') map[key] = value
  else Object.defineProperty(map, key, { value, enumerable: true, configurable: true, writable: true })
}

/** The instant that a timestamp or its text means; undefined for any other value. */
export function instantOf(value: Value): number | undefined {
  if (value instanceof Timestamp) return value.ms
  return typeof value === 'string' ? (parseInstant(value) ?? undefined) : undefined
}

const tooDeep = () => new BudgetError(`The value is nested deeper than ${maxResultDepth} levels.`)

/** Deep equality. Values of different kinds are unequal, except an instant and its text. */
export function equals(left: Value, right: Value, budget: Budget, depth = 0): boolean {
  budget.use(1)
  // A limit of our own: the stack of one runtime is deeper than the other's.
  if (depth > maxResultDepth) throw tooDeep()
  if (typeof left === 'string' && typeof right === 'string') return isSameText(left, right, budget)
  if (left === right) return true
  if (left instanceof Timestamp || right instanceof Timestamp) {
    const instant = instantOf(left)
    return instant !== undefined && instant === instantOf(right)
  }
  if (left instanceof Duration) return right instanceof Duration && left.ms === right.ms
  if (Array.isArray(left)) {
    if (!Array.isArray(right) || left.length !== right.length) return false
    return left.every((item, index) => equals(item, right[index] ?? null, budget, depth + 1))
  }
  if (!isMap(left) || !isMap(right)) return false
  const keys = Object.keys(left)
  if (keys.length !== Object.keys(right).length) return false
  return keys.every(
    (key) => Object.hasOwn(right, key) && equals(left[key] ?? null, right[key] ?? null, budget, depth + 1),
  )
}

/** Texts that begin alike are compared to where they differ. */
const textCost = (left: string, right: string): number => Math.min(left.length, right.length) >> 7

function isSameText(left: string, right: string, budget: Budget): boolean {
  if (left.length !== right.length) return false
  budget.use(textCost(left, right))
  return left === right
}

/** Negative, zero or positive, as Array.sort wants it. Strings sort by code unit, the same on every machine. */
export function compare(left: Value, right: Value, budget: Budget): number {
  if (left instanceof Timestamp || right instanceof Timestamp) {
    const [a, b] = [instantOf(left), instantOf(right)]
    if (a !== undefined && b !== undefined) return a - b
  }
  if (left instanceof Duration && right instanceof Duration) return left.ms - right.ms
  if (typeof left === 'number' && typeof right === 'number') return left < right ? -1 : left > right ? 1 : 0
  if (typeof left === 'string' && typeof right === 'string') {
    budget.use(textCost(left, right))
    return left < right ? -1 : left > right ? 1 : 0
  }
  if (typeof left === 'boolean' && typeof right === 'boolean') return Number(left) - Number(right)
  throw new LanguageError(`A ${kindOf(left)} and a ${kindOf(right)} cannot be ordered.`)
}

/**
 * The value as JSON: instants and durations as text, every map and list copied. Shared parts are counted each
 * time, so a small expression cannot unfold into a huge result.
 */
export function toJson(value: Value, budget: Budget): Json {
  let size = 0
  const grow = (by: number) => {
    budget.use(1)
    size += by
    if (size > maxResultSize) throw new BudgetError(`The value is larger than ${maxResultSize} characters.`)
  }
  const convert = (part: Value, depth: number): Json => {
    if (depth > maxResultDepth) throw tooDeep()
    if (typeof part === 'string') return (grow(part.length + 2), part)
    if (typeof part === 'number') {
      if (!Number.isFinite(part)) throw new LanguageError('The result is not a finite number.')
      return (grow(8), part === 0 ? 0 : part)
    }
    if (part === null || typeof part === 'boolean') return (grow(4), part)
    if (part instanceof Timestamp) return (grow(26), isoText(part.ms))
    if (part instanceof Duration) return (grow(10), formatDuration(part.ms))
    grow(2)
    if (Array.isArray(part)) return part.map((item) => convert(item, depth + 1))
    const copy: { [key: string]: Json } = {}
    for (const key of Object.keys(part)) {
      grow(key.length + 3)
      setOwn(copy, key, convert(part[key] ?? null, depth + 1))
    }
    return copy
  }
  return convert(value, 0)
}

/** What `string()` and `join` write. */
export function toText(value: Value, budget: Budget): string {
  if (typeof value === 'string') return value
  const json = toJson(value, budget)
  const text = typeof json === 'string' ? json : JSON.stringify(json)
  budget.allocate(text.length)
  return text
}
