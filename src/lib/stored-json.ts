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
  const ordered: { [key: string]: Json } = Object.create(null) as { [key: string]: Json }
  for (const { key } of Object.keys(value).map(sortable).sort(byStoredOrder)) ordered[key] = inStoredOrder(value[key]!)
  return { ...ordered }
}

interface SortableKey {
  key: string
  length: number
  /** Null where the text itself is in the order of its bytes. */
  bytes: Uint8Array | null
}

/** Once a key: sorting compares each of them many times. */
function sortable(key: string): SortableKey {
  if (isAscii(key)) return { key, length: key.length, bytes: null }
  const bytes = utf8.encode(key)
  return { key, length: bytes.length, bytes }
}

function byStoredOrder(a: SortableKey, b: SortableKey): number {
  if (a.length !== b.length) return a.length - b.length
  if (a.bytes === null && b.bytes === null) return a.key < b.key ? -1 : 1
  const [left, right] = [a.bytes ?? utf8.encode(a.key), b.bytes ?? utf8.encode(b.key)]
  for (let i = 0; i < left.length; i++) if (left[i] !== right[i]) return left[i]! - right[i]!
  return 0
}
