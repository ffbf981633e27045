import { AppError } from './errors.ts'

const maxDepth = 500
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false })

/** Bytes from a stranger to a JSON value. Throws `malformed` for bad UTF-8, bad JSON and nesting beyond 500. */
export function parseJsonBody(bytes: Uint8Array): unknown {
  let text
  try {
    text = utf8.decode(bytes)
  } catch {
    throw new AppError('malformed', 'The body is not valid UTF-8.')
  }
  // Whatever walks the value later may recurse, so depth is bounded before there is a value.
  if (text.length > maxDepth && isDeeperThan(text, maxDepth))
    throw new AppError('malformed', `The JSON is nested deeper than ${maxDepth} levels.`)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new AppError('malformed', `The body is not valid JSON: ${whereOf(error)}.`)
  }
  // Written plainly, or with any of its letters escaped; only then is the walk worth its time.
  if (text.includes('__proto__') || text.includes('\\u00')) dropProto(value)
  return value
}

/** Where parsing stopped. The engine's message may quote the body, which must not come back in an answer. */
function whereOf(error: unknown): string {
  const position = error instanceof Error ? /position (\d+)/.exec(error.message)?.[1] : undefined
  return position === undefined
    ? 'it ends too early or holds something else'
    : `unexpected text at position ${position}`
}

function isDeeperThan(text: string, limit: number): boolean {
  let depth = 0
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code === 34) {
      // A quote ends the string unless an odd number of backslashes stands before it.
      for (i++; i < text.length && text.charCodeAt(i) !== 34; i++) if (text.charCodeAt(i) === 92) i++
    } else if (code === 91 || code === 123) {
      if (++depth > limit) return true
    } else if (code === 93 || code === 125) depth--
  }
  return false
}

/** JSON.parse makes `__proto__` an own property, which a later copy by assignment would turn into a prototype. */
function dropProto(value: unknown): void {
  if (typeof value !== 'object' || value === null) return
  if (!Array.isArray(value)) delete (value as Record<string, unknown>)['__proto__']
  for (const inner of Object.values(value)) dropProto(inner)
}
