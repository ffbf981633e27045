/** An exact fraction; the denominator is positive. */
export interface Rational {
  n: bigint
  d: bigint
}

/** Thrown for a calculation that has no result. The message is for whoever wrote the expression. */
export class CalculationError extends Error {}

/** Bits of a number beyond which a calculation is refused rather than made. */
const maxBits = 4096n
const maxDecimals = 30

export function rational(n: bigint, d = 1n): Rational {
  if (d === 0n) throw new CalculationError('Division by zero.')
  const sign = d < 0n ? -1n : 1n
  const divisor = gcd(n < 0n ? -n : n, d < 0n ? -d : d) || 1n
  const result = { n: (n / divisor) * sign, d: (d / divisor) * sign }
  if (tooBig(result.n) || tooBig(result.d)) throw new CalculationError('A number is too large.')
  return result
}

/** Divisions of one calculation: of numbers at their largest some hundred milliseconds. */
const maxDivisions = 100_000
let divisions = 0

/** One calculation goes on until it is done, so that one count is enough. */
export function beginCalculation(): void {
  divisions = 0
}

function gcd(a: bigint, b: bigint): bigint {
  while (b !== 0n) {
    if (++divisions > maxDivisions) throw new CalculationError('The calculation takes too many divisions.')
    ;[a, b] = [b, a % b]
  }
  return a
}

const tooBig = (value: bigint): boolean => {
  const size = value < 0n ? -value : value
  return size >> maxBits > 0n
}

export const add = (a: Rational, b: Rational): Rational => rational(a.n * b.d + b.n * a.d, a.d * b.d)
export const subtract = (a: Rational, b: Rational): Rational => add(a, negate(b))
export const multiply = (a: Rational, b: Rational): Rational => rational(a.n * b.n, a.d * b.d)
export const divide = (a: Rational, b: Rational): Rational => rational(a.n * b.d, a.d * b.n)
export const negate = (a: Rational): Rational => ({ n: -a.n, d: a.d })
export const compare = (a: Rational, b: Rational): number => {
  const difference = a.n * b.d - b.n * a.d
  return difference < 0n ? -1 : difference > 0n ? 1 : 0
}

export function floor(a: Rational): Rational {
  const quotient = a.n / a.d
  return { n: a.n < 0n && quotient * a.d !== a.n ? quotient - 1n : quotient, d: 1n }
}
export const ceil = (a: Rational): Rational => negate(floor(negate(a)))

/** Half away from zero, as people round money. */
export function round(a: Rational, decimals: Rational): Rational {
  if (decimals.d !== 1n || decimals.n < 0n || decimals.n > BigInt(maxDecimals)) {
    throw new CalculationError(`round() takes 0 to ${maxDecimals} decimals.`)
  }
  const factor = rational(10n ** decimals.n)
  const scaled = multiply(a, factor)
  const half = rational(1n, 2n)
  const whole = scaled.n < 0n ? ceil(subtract(scaled, half)) : floor(add(scaled, half))
  return divide(whole, factor)
}

/** The remainder with the sign of the dividend, as in most languages. */
export function remainder(a: Rational, b: Rational): Rational {
  const quotient = divide(a, b)
  const whole = quotient.n < 0n ? ceil(quotient) : floor(quotient)
  return subtract(a, multiply(b, whole))
}

export function power(base: Rational, exponent: Rational): Rational {
  if (exponent.d !== 1n) return fromNumber(toNumber(base) ** toNumber(exponent))
  const times = exponent.n < 0n ? -exponent.n : exponent.n
  const bits = BigInt(Math.max(base.n.toString(2).length, base.d.toString(2).length))
  if (times > maxBits || (times * bits > maxBits * 2n && base.n !== 0n && base.n !== 1n)) {
    throw new CalculationError('A number is too large.')
  }
  const result = rational(base.n ** times, base.d ** times)
  return exponent.n < 0n ? divide(rational(1n), result) : result
}

/** Roots of perfect squares are exact; others have the precision of a double. */
export function squareRoot(a: Rational): Rational {
  if (a.n < 0n) throw new CalculationError('The square root of a negative number is not real.')
  const [n, d] = [wholeRoot(a.n), wholeRoot(a.d)]
  if (n * n === a.n && d * d === a.d) return rational(n, d)
  return fromNumber(Math.sqrt(toNumber(a)))
}

function wholeRoot(value: bigint): bigint {
  if (value < 2n) return value
  let guess = 1n << BigInt((value.toString(2).length + 1) >> 1)
  for (;;) {
    const next = (guess + value / guess) >> 1n
    if (next >= guess) return guess
    guess = next
  }
}

const toNumber = (a: Rational): number => Number(toText(a))

export function fromNumber(value: number): Rational {
  if (!Number.isFinite(value)) throw new CalculationError('The result is not a finite number.')
  return parseNumber(String(value))
}

export function parseNumber(text: string): Rational {
  const match = /^(-?)(\d*)(?:\.(\d*))?(?:e([+-]?\d{1,4}))?$/i.exec(text)
  const digits = match ? (match[2] ?? '') + (match[3] ?? '') : ''
  if (!match || digits === '' || digits.length > 1000)
    throw new CalculationError(`'${text.slice(0, 40)}' is no number.`)
  const exponent = Number(match[4] ?? 0) - (match[3] ?? '').length
  if (Math.abs(exponent) > 1200) throw new CalculationError('A number is too large.')
  const n = BigInt(digits) * (match[1] ? -1n : 1n)
  return exponent >= 0 ? rational(n * 10n ** BigInt(exponent)) : rational(n, 10n ** BigInt(-exponent))
}

/** Decimal text; a fraction without an end is rounded to 30 places. */
export function toText(value: Rational): string {
  const negative = value.n < 0n
  const unit = 10n ** BigInt(maxDecimals)
  const scaled = ((negative ? -value.n : value.n) * unit * 2n + value.d) / (value.d * 2n)
  const whole = scaled / unit
  const fraction = (scaled % unit).toString().padStart(maxDecimals, '0').replace(/0+$/, '')
  const text = fraction ? `${whole}.${fraction}` : `${whole}`
  return negative && scaled !== 0n ? `-${text}` : text
}

/** Whether the decimal text is the value itself. */
export const isExact = (value: Rational): boolean => compare(parseNumber(toText(value)), value) === 0
