import { hmac } from '@noble/hashes/hmac.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { fromBase64Url } from './base64url.ts'
import { sameText } from './same-text.ts'

const utf8 = new TextEncoder()
const prefix = 'whsec_'

/** Of a short text. */
const hmacSha256 = (key: Uint8Array, text: Uint8Array | string): Uint8Array =>
  hmac(sha256, key, typeof text === 'string' ? utf8.encode(text) : text)

/** Of what strangers send, at any length: outside of JavaScript, which a large body would hold up. */
export async function signLarge(secret: Uint8Array, content: Uint8Array): Promise<Uint8Array> {
  const algorithm = { name: 'HMAC', hash: 'SHA-256' }
  const key = await crypto.subtle.importKey('raw', secret as BufferSource, algorithm, false, ['sign'])
  return new Uint8Array(await crypto.subtle.sign('HMAC', key, content as BufferSource))
}

/** Base64 with its padding, as Standard Webhooks has it. */
export const toBase64 = (bytes: Uint8Array): string => btoa(String.fromCharCode(...bytes))

/** A secret of Standard Webhooks: `whsec_` and the base64 of the key. */
export const formatSecret = (key: Uint8Array): string => prefix + toBase64(key)

/** The key of a secret; null for what is none. A text without `whsec_` is read as base64 too. */
export function keyOfSecret(secret: string): Uint8Array | null {
  const bytes = fromBase64Url(secret.startsWith(prefix) ? secret.slice(prefix.length) : secret)
  return bytes !== null && bytes.length > 0 ? bytes : null
}

function signedContent(id: string, timestamp: string, body: Uint8Array | string): Uint8Array {
  const head = utf8.encode(`${id}.${timestamp}.`)
  const rest = typeof body === 'string' ? utf8.encode(body) : body
  const content = new Uint8Array(head.length + rest.length)
  content.set(head)
  content.set(rest, head.length)
  return content
}

/** The three headers of Standard Webhooks, with one signature for each secret that is valid. */
export function signMessage(
  secrets: readonly string[],
  message: { id: string; timestampS: number; body: string },
): Record<string, string> {
  const timestamp = String(message.timestampS)
  const content = signedContent(message.id, timestamp, message.body)
  const signatures = secrets.flatMap((secret) => {
    const key = keyOfSecret(secret)
    return key === null ? [] : [`v1,${toBase64(hmacSha256(key, content))}`]
  })
  return {
    'webhook-id': message.id,
    'webhook-timestamp': timestamp,
    'webhook-signature': signatures.join(' '),
  }
}

/** Whether any signature of the header is that of any of the secrets. Every pair is compared, in even time. */
export async function isSignedBy(
  secrets: readonly string[],
  message: { id: string; timestamp: string; body: Uint8Array; signatures: string },
): Promise<boolean> {
  const content = signedContent(message.id, message.timestamp, message.body)
  const given = message.signatures
    .split(' ')
    // More than a rotation needs would let a stranger buy work.
    .slice(0, 8)
    .flatMap((part) => (part.startsWith('v1,') ? [part.slice(3)] : []))
  let found = false
  for (const secret of secrets) {
    const key = keyOfSecret(secret)
    if (key === null) continue
    const expected = toBase64(await signLarge(key, content))
    for (const signature of given) if (sameText(signature, expected)) found = true
  }
  return found
}
