import { sha256Hex } from './canonical.ts'

const hex = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, '0'))

// Fetched for many ids at once: the call costs more than all else that an id needs. Each byte is used once.
const pool = new Uint8Array(16 * 256)
let used = pool.length

function sixteenRandomBytes(): Uint8Array {
  if (used === pool.length) {
    crypto.getRandomValues(pool)
    used = 0
  }
  used += 16
  return pool.subarray(used - 16, used)
}

/** UUID version 7 (RFC 9562): sortable by the millisecond of its making, random in the rest. */
export function uuidv7(nowMs = Date.now()): string {
  const b = sixteenRandomBytes()
  // Bit operators work on 32 bits, so the 48-bit time is split by division.
  const high = Math.floor(nowMs / 0x10000)
  const low = nowMs % 0x10000
  b[0] = high >>> 24
  b[1] = high >>> 16
  b[2] = high >>> 8
  b[3] = high
  b[4] = low >>> 8
  b[5] = low
  b[6] = 0x70 | (b[6]! & 0x0f)
  b[8] = 0x80 | (b[8]! & 0x3f)
  let out = ''
  for (let i = 0; i < 16; i++) {
    out += hex[b[i]!]
    if (i === 3 || i === 5 || i === 7 || i === 9) out += '-'
  }
  return out
}

export const isUuid = (text: string): boolean =>
  /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i.test(text)

/**
 * The one id that a name below another id has. It is a UUID version 7 one millisecond younger than its parent, so it
 * sorts behind it.
 */
export function derivedUuid(parent: string, name: string): string {
  const time = (Number.parseInt(parent.replaceAll('-', '').slice(0, 12), 16) + 1).toString(16).padStart(12, '0')
  const hash = sha256Hex(`${parent}/${name}`)
  const variant = ((Number.parseInt(hash[3]!, 16) & 3) | 8).toString(16)
  return `${time.slice(0, 8)}-${time.slice(8)}-7${hash.slice(0, 3)}-${variant}${hash.slice(4, 7)}-${hash.slice(7, 19)}`
}
