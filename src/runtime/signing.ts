import type { Cipher } from '../context.ts'
import { fromBase64Url, toBase64Url } from '../lib/base64url.ts'

interface SigningKey {
  id: string
  bytes: Uint8Array<ArrayBuffer>
}

const encoder = new TextEncoder()
const macBytes = 32

/**
 * Signatures under keys derived from the ring (HKDF), one a purpose, so that neither the sealing nor another purpose is
 * served by what one key signs. The first key signs, all verify: what was signed before a rotation stays good.
 */
export function createSigning(ring: readonly SigningKey[]): Pick<Cipher, 'sign' | 'verify'> {
  const derived = new Map<string, CryptoKey>()
  // Keys are kept, not promises of them: on Workers a request must not wait for what another one has begun.
  const keyFor = async ({ id, bytes }: SigningKey, purpose: string): Promise<CryptoKey> => {
    const name = `${id} ${purpose}`
    const known = derived.get(name) ?? (await deriveKey(bytes, purpose))
    derived.set(name, known)
    return known
  }
  return {
    async sign(text, purpose) {
      const key = ring[0]!
      const mac = await crypto.subtle.sign('HMAC', await keyFor(key, purpose), encoder.encode(text))
      return `${key.id}.${toBase64Url(new Uint8Array(mac))}`
    },
    async verify(text, signature, purpose) {
      const [id, encoded = '', ...rest] = signature.split('.')
      const key = ring.find((candidate) => candidate.id === id)
      const mac = fromBase64Url(encoded)
      if (!key || rest.length > 0 || mac?.length !== macBytes) return false
      // Web Crypto compares in constant time.
      return crypto.subtle.verify('HMAC', await keyFor(key, purpose), mac, encoder.encode(text))
    },
  }
}

async function deriveKey(bytes: Uint8Array<ArrayBuffer>, purpose: string): Promise<CryptoKey> {
  const root = await crypto.subtle.importKey('raw', bytes, 'HKDF', false, ['deriveKey'])
  return crypto.subtle.deriveKey(
    // No salt: the ring's keys are random already.
    { name: 'HKDF', hash: 'SHA-256', salt: new Uint8Array(), info: encoder.encode(`automatos sign v1 ${purpose}`) },
    root,
    { name: 'HMAC', hash: 'SHA-256', length: 256 },
    false,
    ['sign', 'verify'],
  )
}
