import { toHex } from '../../lib/hex.ts'

/** `ak_srv_` (server) or `ak_pub_` (widget) and 64 hex characters: 256 random bits, so a plain SHA-256 protects the stored form. */
const format = /^ak_(srv|pub)_[0-9a-f]{64}$/

export type KeyKind = 'server' | 'widget'

export function keyKind(token: string): KeyKind | null {
  const match = format.exec(token)
  return match ? (match[1] === 'srv' ? 'server' : 'widget') : null
}

/** `bytes` are 32 random ones. */
export function formatKey(kind: KeyKind, bytes: Uint8Array): string {
  return `ak_${kind === 'server' ? 'srv' : 'pub'}_${toHex(bytes)}`
}

/** What a list shows, to recognise a key by: `ak_srv_` and eight characters. */
export const keyPrefix = (token: string): string => token.slice(0, 15)

export async function hashKey(token: string): Promise<string> {
  return toHex(new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(token))))
}
