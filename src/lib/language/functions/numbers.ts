import { LanguageError } from '../scope.ts'
import { kindOf, Timestamp, toText, type Value } from '../values.ts'
import { type FunctionTable, numberArg, takes, wholeArg } from './declare.ts'

function toNumber(name: string, value: Value | undefined): number {
  if (typeof value === 'number') return value
  if (typeof value === 'boolean') return Number(value)
  if (value instanceof Timestamp) return Math.floor(value.ms / 1000)
  if (typeof value === 'string' && /^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?\s*$/.test(value.slice(0, 400))) {
    const number = Number(value)
    if (Number.isFinite(number)) return number
  }
  const shown = typeof value === 'string' ? `'${value.slice(0, 40)}'` : `a ${kindOf(value ?? null)}`
  throw new LanguageError(`${name}() cannot read ${shown} as a number.`)
}

function rounded(value: number, digits: number): number {
  if (digits < 0 || digits > 12) throw new LanguageError('round() keeps 0 to 12 digits.')
  // The decimal text shifts exactly where a multiplication would not: 1.005 rounds to 1.01.
  const [mantissa = '0', exponent = '0'] = String(Math.abs(value)).split('e')
  const shifted = Math.round(Number(`${mantissa}e${Number(exponent) + digits}`))
  const [back = '0', backExponent = '0'] = String(shifted).split('e')
  return Math.sign(value) * Number(`${back}e${Number(backExponent) - digits}`)
}

export const numberFunctions: FunctionTable = {
  int: takes(1, 1, ([value]) => Math.trunc(toNumber('int', value))),
  double: takes(1, 1, ([value]) => toNumber('double', value)),
  bool: takes(1, 1, ([value]) => {
    if (typeof value === 'boolean') return value
    if (value === 'true' || value === 'True' || value === 'TRUE' || value === 't' || value === '1') return true
    if (value === 'false' || value === 'False' || value === 'FALSE' || value === 'f' || value === '0') return false
    throw new LanguageError(
      `bool() wants 'true' or 'false', not ${typeof value === 'string' ? `'${value.slice(0, 40)}'` : `a ${kindOf(value ?? null)}`}.`,
    )
  }),
  string: takes(1, 1, ([value], budget) => toText(value ?? null, budget)),
  type: takes(1, 1, ([value]) => kindOf(value ?? null)),
  round: takes(1, 2, ([value, digits]) =>
    rounded(numberArg('round', value), digits === undefined ? 0 : wholeArg('round', digits)),
  ),
  floor: takes(1, 1, ([value]) => Math.floor(numberArg('floor', value))),
  ceil: takes(1, 1, ([value]) => Math.ceil(numberArg('ceil', value))),
  abs: takes(1, 1, ([value]) => Math.abs(numberArg('abs', value))),
}
