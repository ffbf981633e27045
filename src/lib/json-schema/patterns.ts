import { linearRegex, type LinearRegex } from '../linear-regex.ts'

const known = new Map<string, LinearRegex>()

/** Compiled once while in use. Throws SyntaxError. */
export function patternOf(source: string): LinearRegex {
  let pattern = known.get(source)
  if (!pattern) {
    pattern = linearRegex(source)
    if (known.size >= 500) known.clear()
    known.set(source, pattern)
  }
  return pattern
}
