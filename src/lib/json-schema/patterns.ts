import { ecmascriptRegex, type EcmaScriptRegex } from '../regex/ecmascript.ts'

const known = new Map<string, EcmaScriptRegex>()

/** Compiled once while in use. Throws SyntaxError. */
export function patternOf(source: string): EcmaScriptRegex {
  let pattern = known.get(source)
  if (!pattern) {
    pattern = ecmascriptRegex(source)
    if (known.size >= 500) known.clear()
    known.set(source, pattern)
  }
  return pattern
}
