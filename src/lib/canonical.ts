import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'

/** Deeper values overflow the stack of some runtimes; JSON that we accept is never this deep. */
const maxDepth = 1000

/**
 * JSON with sorted keys and no white space (RFC 8785), so equal values have equal text and equal hashes.
 * Keys sort by UTF-16 code units. What JSON cannot say is treated as JSON.stringify does.
 */
export function canonicalJson(value: unknown): string {
  return write(value, 0) ?? 'null'
}

function write(value: unknown, depth: number): string | undefined {
  if (depth > maxDepth) throw new RangeError(`The value is nested deeper than ${maxDepth} levels.`)
  if (value === null || typeof value !== 'object') {
    if (typeof value === 'bigint') return value.toString()
    return JSON.stringify(value)
  }
  if (Array.isArray(value)) return `[${value.map((item) => write(item, depth + 1) ?? 'null').join(',')}]`
  if ('toJSON' in value && typeof value.toJSON === 'function') return write(value.toJSON(), depth + 1)
  const parts: string[] = []
  const entries = value as Record<string, unknown>
  for (const key of Object.keys(entries).toSorted()) {
    const text = write(entries[key], depth + 1)
    if (text !== undefined) parts.push(`${JSON.stringify(key)}:${text}`)
  }
  return `{${parts.join(',')}}`
}

/** Synchronous, because expressions are; Web Crypto only offers promises. */
export function sha256Hex(data: string | Uint8Array): string {
  return bytesToHex(sha256(typeof data === 'string' ? utf8ToBytes(data) : data))
}
