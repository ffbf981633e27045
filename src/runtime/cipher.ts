import type { Cipher } from '../context.ts'
import { fromBase64Url, toBase64Url } from '../lib/base64url.ts'
import { createSigning } from './signing.ts'

export interface RingKey {
  id: string
  bytes: Uint8Array<ArrayBuffer>
}

const ivBytes = 12
const keyBytes = 32
const encoder = new TextEncoder()

/**
 * Reads `id:base64,id:base64`: 32-byte keys, the first encrypts, all decrypt. Throws with every fault at once and
 * never repeats key material in the message.
 */
export function parseKeyRing(text: string): RingKey[] {
  const faults: string[] = []
  const ring: RingKey[] = []
  const entries = text.split(',').map((entry) => entry.trim())
  entries.forEach((entry, index) => {
    const [, id, encoded] = /^([A-Za-z0-9_-]{1,32}):(.+)$/s.exec(entry) ?? []
    const name = id === undefined ? `entry ${index + 1}` : `key "${id}"`
    const bytes = encoded === undefined ? null : fromBase64Url(encoded)
    if (id === undefined) faults.push(`${name} is not "id:base64" with an id of 1 to 32 letters, digits, _ or -`)
    else if (bytes === null) faults.push(`${name} is not base64`)
    else if (bytes.length !== keyBytes) faults.push(`${name} has ${bytes.length} bytes instead of ${keyBytes}`)
    else if (ring.some((key) => key.id === id)) faults.push(`${name} is there twice`)
    else ring.push({ id, bytes })
  })
  if (faults.length > 0) throw new Error(`The key ring cannot be read: ${faults.join('; ')}.`)
  return ring
}

/**
 * Signatures (signing.ts) and envelope encryption under a key ring. Every text gets a data key of its own, wrapped by the ring's first key:
 * `v1.<key id>.<iv + wrapped data key>.<iv + text>`, base64url, both parts bound to `context`.
 */
export function createCipher(keyRing: string): Cipher {
  const ring = parseKeyRing(keyRing)
  const imported = new Map<string, CryptoKey>()
  // Keys are kept, not promises of them: on Workers a request must not wait for what another one has begun.
  const ringKey = async (key: RingKey): Promise<CryptoKey> => {
    const known = imported.get(key.id) ?? (await importKey(key.bytes))
    imported.set(key.id, known)
    return known
  }

  return {
    ...createSigning(ring),
    async seal(plain, context) {
      const key = ring[0]!
      const dataKey = crypto.getRandomValues(new Uint8Array(keyBytes))
      const [wrapped, body] = await Promise.all([
        ringKey(key).then((wrapper) => encrypt(wrapper, dataKey, wrapContext(key.id, context))),
        importKey(dataKey).then((k) => encrypt(k, encoder.encode(plain), encoder.encode(context))),
      ])
      return `v1.${key.id}.${toBase64Url(wrapped)}.${toBase64Url(body)}`
    },
    async open(sealed, context) {
      const [version, id, wrapped, body, ...rest] = sealed.split('.')
      if (version !== 'v1' || !id || !wrapped || !body || rest.length > 0)
        throw new Error('Not a sealed text of version 1.')
      const key = ring.find((candidate) => candidate.id === id)
      if (!key) throw new Error(`The key ring has no key "${id}", which sealed this text.`)
      try {
        const dataKey = await decrypt(await ringKey(key), mustDecode(wrapped), wrapContext(id, context))
        const plain = await decrypt(await importKey(dataKey), mustDecode(body), encoder.encode(context))
        return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(plain)
      } catch (cause) {
        throw new Error(
          `A text sealed by key "${id}" cannot be opened: it was changed, moved, or the key is another.`,
          { cause },
        )
      }
    },
  }
}

/** The id of the key that sealed a text; null where it is not a sealed text. */
export const sealedBy = (sealed: string): string | null => /^v1\.([A-Za-z0-9_-]{1,32})\./.exec(sealed)?.[1] ?? null

const wrapContext = (id: string, context: string) => encoder.encode(`v1.${id}.${context}`)

const importKey = (bytes: BufferSource) =>
  crypto.subtle.importKey('raw', bytes, 'AES-GCM', false, ['encrypt', 'decrypt'])

async function encrypt(key: CryptoKey, plain: BufferSource, additionalData: BufferSource): Promise<Uint8Array> {
  const iv = crypto.getRandomValues(new Uint8Array(ivBytes))
  const body = await crypto.subtle.encrypt({ name: 'AES-GCM', iv, additionalData }, key, plain)
  const out = new Uint8Array(ivBytes + body.byteLength)
  out.set(iv)
  out.set(new Uint8Array(body), ivBytes)
  return out
}

const decrypt = (key: CryptoKey, bytes: Uint8Array<ArrayBuffer>, additionalData: BufferSource) =>
  crypto.subtle.decrypt(
    { name: 'AES-GCM', iv: bytes.subarray(0, ivBytes), additionalData },
    key,
    bytes.subarray(ivBytes),
  )

function mustDecode(text: string): Uint8Array<ArrayBuffer> {
  const bytes = fromBase64Url(text)
  if (!bytes) throw new Error('not base64')
  return bytes
}
