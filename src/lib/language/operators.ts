import type { BinaryOperator } from './ast.ts'
import type { Budget } from './budget.ts'
import { LanguageError } from './scope.ts'
import { compare, Duration, equals, instantOf, isMap, kindOf, Timestamp, type Value } from './values.ts'

/** CEL's binary operators over one kind of number. An instant may be given as its ISO text. */
export function binary(op: BinaryOperator, left: Value, right: Value, budget: Budget): Value {
  switch (op) {
    case '==':
      return equals(left, right, budget)
    case '!=':
      return !equals(left, right, budget)
    case '<':
      return compare(left, right, budget) < 0
    case '<=':
      return compare(left, right, budget) <= 0
    case '>':
      return compare(left, right, budget) > 0
    case '>=':
      return compare(left, right, budget) >= 0
    case 'in':
      return contains(left, right, budget)
    case '+':
      return add(left, right, budget)
    case '-':
      return subtract(left, right)
    default:
      return arithmetic(op, left, right)
  }
}

function contains(item: Value, container: Value, budget: Budget): boolean {
  if (Array.isArray(container)) return container.some((other) => equals(item, other, budget))
  if (isMap(container)) return typeof item === 'string' && Object.hasOwn(container, item)
  throw new LanguageError(
    `'in' wants a list or a map on its right, not a ${kindOf(container)}; for text use contains().`,
  )
}

function add(left: Value, right: Value, budget: Budget): Value {
  if (typeof left === 'number' && typeof right === 'number') return finite(left + right)
  if (typeof left === 'string' && typeof right === 'string') {
    budget.allocate(left.length + right.length)
    return left + right
  }
  if (Array.isArray(left) && Array.isArray(right)) {
    budget.allocate(left.length + right.length)
    budget.use((left.length + right.length) >> 2)
    return [...left, ...right]
  }
  if (right instanceof Duration) {
    if (left instanceof Duration) return new Duration(left.ms + right.ms)
    const instant = instantOf(left)
    if (instant !== undefined) return new Timestamp(instant + right.ms)
  }
  if (left instanceof Duration) {
    const instant = instantOf(right)
    if (instant !== undefined) return new Timestamp(instant + left.ms)
  }
  throw undefinedFor('+', left, right)
}

function subtract(left: Value, right: Value): Value {
  if (typeof left === 'number' && typeof right === 'number') return finite(left - right)
  if (right instanceof Duration) {
    if (left instanceof Duration) return new Duration(left.ms - right.ms)
    if (left === 0) return new Duration(-right.ms)
    const instant = instantOf(left)
    if (instant !== undefined) return new Timestamp(instant - right.ms)
  }
  const [from, to] = [instantOf(right), instantOf(left)]
  if (from !== undefined && to !== undefined) return new Duration(to - from)
  throw undefinedFor('-', left, right)
}

function arithmetic(op: '*' | '/' | '%', left: Value, right: Value): Value {
  if (typeof left !== 'number' || typeof right !== 'number') throw undefinedFor(op, left, right)
  if (op === '*') return finite(left * right)
  if (right === 0) throw new LanguageError('Division by zero.')
  return finite(op === '/' ? left / right : left % right)
}

export function finite(value: number): number {
  if (Number.isFinite(value)) return value
  throw new LanguageError('The number is too large.')
}

function undefinedFor(op: string, left: Value, right: Value): LanguageError {
  const hint = op === '+' && (typeof left === 'string' || typeof right === 'string') ? '; string() makes text' : ''
  return new LanguageError(`A ${kindOf(left)} ${op} a ${kindOf(right)} is not defined${hint}.`)
}
