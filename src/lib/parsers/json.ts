import type { Json } from '../json.ts'
import { LanguageError } from '../language/scope.ts'

/** Nesting that every consumer of a value can walk without a stack of its own. */
export const maxJsonDepth = 500

/** JSON text as a value. Depth is counted before parsing, so hostile nesting costs one pass over the text. */
export function parseJson(text: string): Json {
  assertDepth(text)
  try {
    return JSON.parse(text) as Json
  } catch {
    // Engines word this differently and quote the text, so none of it is passed on.
    throw new LanguageError(text.trim() === '' ? 'The text is empty, which is not JSON.' : 'The text is not JSON.')
  }
}

function assertDepth(text: string): void {
  let depth = 0
  let inString = false
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    if (inString) {
      if (code === 0x5c) at += 1
      else if (code === 0x22) inString = false
    } else if (code === 0x22) inString = true
    else if (code === 0x5b || code === 0x7b) {
      depth += 1
      if (depth > maxJsonDepth) throw new LanguageError(`The JSON is nested deeper than ${maxJsonDepth} levels.`)
    } else if (code === 0x5d || code === 0x7d) depth -= 1
  }
}
