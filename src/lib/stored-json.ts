import type { Json } from './json.ts'

const utf8 = new TextEncoder()
const isAscii = (text: string): boolean => /^[\x00-\x7f]*$/.test(text)

/**
 * Keys in the order in which jsonb gives them back (shorter first, then byte by byte). A value that has not been
 * through the database yet and the same value read from it then render alike: to a template, an expression, a body.
 */
export function inStoredOrder(value: Json): Json {
  if (Array.isArray(value)) return value.map(inStoredOrder)
  if (typeof value !== 'object' || value === null) return value
  const keys = Object.keys(value).sort(byStoredOrder)
  const ordered: { [key: string]: Json } = Object.create(null) as { [key: string]: Json }
  for (const key of keys) ordered[key] = inStoredOrder(value[key]!)
  return { ...ordered }
}

function byStoredOrder(a: string, b: string): number {
  if (isAscii(a) && isAscii(b)) return a.length - b.length || (a < b ? -1 : 1)
  const left = utf8.encode(a)
  const right = utf8.encode(b)
  if (left.length !== right.length) return left.length - right.length
  for (let i = 0; i < left.length; i++) if (left[i] !== right[i]) return left[i]! - right[i]!
  return 0
}
