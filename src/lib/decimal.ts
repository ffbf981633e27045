/** Exact sums of decimal texts such as "0.00315": money never passes through a float. */
export function addDecimals(a: string, b: string): string {
  const left = parts(a)
  const right = parts(b)
  const scale = Math.max(left.scale, right.scale)
  const sum = left.digits * 10n ** BigInt(scale - left.scale) + right.digits * 10n ** BigInt(scale - right.scale)
  return toText(sum, scale)
}

/** Whether a sum has come to a limit. */
export const reaches = (sum: string, limit: string): boolean => !addDecimals(sum, `-${limit}`).startsWith('-')

/** A decimal text times a whole number. */
export function timesDecimal(text: string, count: number): string {
  const { digits, scale } = parts(text)
  return toText(digits * BigInt(count), scale)
}

function parts(text: string): { digits: bigint; scale: number } {
  const match = /^(-?)(\d+)(?:\.(\d+))?$/.exec(text)
  if (!match) throw new RangeError(`"${text}" is not a decimal number.`)
  const fraction = match[3] ?? ''
  const digits = BigInt(match[2]! + fraction)
  return { digits: match[1] ? -digits : digits, scale: fraction.length }
}

function toText(digits: bigint, scale: number): string {
  const negative = digits < 0n
  const text = (negative ? -digits : digits).toString().padStart(scale + 1, '0')
  const whole = text.slice(0, text.length - scale)
  const fraction = text.slice(text.length - scale).replace(/0+$/, '')
  return `${negative ? '-' : ''}${whole}${fraction ? `.${fraction}` : ''}`
}
