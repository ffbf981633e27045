import type { WebhookAuth } from '../../db/tables/webhooks.table.ts'
import { sha256Hex } from '../../lib/canonical.ts'
import { toHex } from '../../lib/hex.ts'
import { sameText } from '../../lib/same-text.ts'
import { hmacSha256, isSignedBy, toBase64 } from '../../lib/standard-webhooks.ts'

export interface Incoming {
  headers: Headers
  query: URLSearchParams
  body: Uint8Array
  nowMs: number
}

/** Null where the sender is who it claims to be, else why not: for the log of the owner, never for the sender. */
export function refusalOf(auth: WebhookAuth, secrets: readonly string[], incoming: Incoming): string | null {
  switch (auth.mode) {
    case 'url_token':
      return refuseToken(secrets, incoming.query.get('token'), 'The address has no token.')
    case 'header_token':
      return refuseToken(secrets, incoming.headers.get(auth.header), `The header ${auth.header} is missing.`)
    case 'signature':
      return auth.scheme === 'standard'
        ? refuseStandard(auth.tolerance, secrets, incoming)
        : refuseHmac(auth, secrets, incoming)
  }
}

/** Hashes are compared, so that the time tells not even the length of the secret. */
function refuseToken(secrets: readonly string[], token: string | null, missing: string): string | null {
  if (token === null || token === '') return missing
  const hash = sha256Hex(token)
  let found = false
  for (const secret of secrets) if (sameText(hash, sha256Hex(secret))) found = true
  return found ? null : 'The token is wrong.'
}

function refuseStandard(toleranceS: number, secrets: readonly string[], { headers, body, nowMs }: Incoming) {
  const id = headers.get('webhook-id')
  const timestamp = headers.get('webhook-timestamp')
  const signatures = headers.get('webhook-signature')
  if (!id || !timestamp || !signatures) return 'webhook-id, webhook-timestamp or webhook-signature is missing.'
  const late = refuseTime(timestamp, toleranceS, nowMs)
  if (late !== null) return late
  return isSignedBy(secrets, { id, timestamp, body, signatures }) ? null : 'The signature is wrong.'
}

function refuseHmac(
  auth: Extract<WebhookAuth, { scheme: 'hmac_sha256' }>,
  secrets: readonly string[],
  { headers, body, nowMs }: Incoming,
): string | null {
  const given = headers.get(auth.header)?.trim()
  if (!given) return `The header ${auth.header} is missing.`
  let content = body
  if (auth.timestamp_header !== null) {
    const timestamp = headers.get(auth.timestamp_header)
    if (!timestamp) return `The header ${auth.timestamp_header} is missing.`
    const late = refuseTime(timestamp, auth.tolerance, nowMs)
    if (late !== null) return late
    const head = new TextEncoder().encode(`${timestamp}.`)
    content = new Uint8Array(head.length + body.length)
    content.set(head)
    content.set(body, head.length)
  }
  const bare = given.startsWith(auth.prefix) ? given.slice(auth.prefix.length) : given
  // Hexadecimal digits are the same number in either case.
  const signature = auth.encoding === 'hex' ? bare.toLowerCase() : bare
  let found = false
  for (const secret of secrets) {
    const mac = hmacSha256(new TextEncoder().encode(secret), content)
    if (sameText(signature, auth.encoding === 'hex' ? toHex(mac) : toBase64(mac))) found = true
  }
  return found ? null : 'The signature is wrong.'
}

/** Unix seconds within the window on either side: clocks differ. */
function refuseTime(timestamp: string, toleranceS: number, nowMs: number): string | null {
  if (!/^\d{1,12}$/.test(timestamp)) return 'The timestamp is no number of seconds.'
  const awayS = Math.abs(nowMs / 1000 - Number(timestamp))
  return awayS <= toleranceS ? null : `The timestamp is ${Math.round(awayS)} s away, ${toleranceS} s are allowed.`
}
