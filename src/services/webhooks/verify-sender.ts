import type { WebhookAuth } from '../../db/tables/webhooks.table.ts'
import { sha256Hex } from '../../lib/canonical.ts'
import { toHex } from '../../lib/hex.ts'
import { sameText } from '../../lib/same-text.ts'
import { isSignedBy, signLarge, toBase64 } from '../../lib/standard-webhooks.ts'

export interface Incoming {
  headers: Headers
  query: URLSearchParams
  /** Read where a signature has to be looked at, and not before. */
  body(): Promise<Uint8Array>
  nowMs: number
}

/** Null where the sender is who it claims to be, else why not: for the log of the owner, never for the sender. */
export async function refusalOf(
  auth: WebhookAuth,
  secrets: readonly string[],
  incoming: Incoming,
): Promise<string | null> {
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

async function refuseStandard(toleranceS: number, secrets: readonly string[], { headers, body, nowMs }: Incoming) {
  const id = headers.get('webhook-id')
  const timestamp = headers.get('webhook-timestamp')
  const signatures = headers.get('webhook-signature')
  if (!id || !timestamp || !signatures) return 'webhook-id, webhook-timestamp or webhook-signature is missing.'
  const late = refuseTime(timestamp, toleranceS, nowMs)
  if (late !== null) return late
  const message = { id, timestamp, body: await body(), signatures }
  return (await isSignedBy(secrets, message)) ? null : 'The signature is wrong.'
}

type HmacAuth = Extract<WebhookAuth, { scheme: 'hmac_sha256' }>

async function refuseHmac(
  auth: HmacAuth,
  secrets: readonly string[],
  { headers, body, nowMs }: Incoming,
): Promise<string | null> {
  const signature = signatureOf(auth, headers)
  if (signature === null) return `The header ${auth.header} is missing.`
  let head = ''
  if (auth.timestamp_header !== null) {
    const timestamp = headers.get(auth.timestamp_header)
    if (!timestamp) return `The header ${auth.timestamp_header} is missing.`
    const late = refuseTime(timestamp, auth.tolerance, nowMs)
    if (late !== null) return late
    head = `${timestamp}.`
  }
  const content = joined(head, await body())
  let found = false
  for (const secret of secrets) {
    const mac = await signLarge(new TextEncoder().encode(secret), content)
    if (sameText(signature, auth.encoding === 'hex' ? toHex(mac) : toBase64(mac))) found = true
  }
  return found ? null : 'The signature is wrong.'
}

function joined(head: string, body: Uint8Array): Uint8Array {
  if (head === '') return body
  const start = new TextEncoder().encode(head)
  const content = new Uint8Array(start.length + body.length)
  content.set(start)
  content.set(body, start.length)
  return content
}

/** One text for one signature: hexadecimal digits are the same number in either case. Null where there is none. */
function signatureOf(auth: HmacAuth, headers: Headers): string | null {
  const given = headers.get(auth.header)?.trim()
  if (!given) return null
  const bare = given.startsWith(auth.prefix) ? given.slice(auth.prefix.length) : given
  return auth.encoding === 'hex' ? bare.toLowerCase() : bare
}

/** Where the body alone is signed, whoever holds an old delivery can change its id: this is what it is known by. */
export function signatureHashOf(auth: WebhookAuth, headers: Headers): string | null {
  if (auth.mode !== 'signature' || auth.scheme !== 'hmac_sha256' || auth.timestamp_header !== null) return null
  const signature = signatureOf(auth, headers)
  return signature === null ? null : sha256Hex(signature)
}

/** Unix seconds within the window on either side: clocks differ. */
function refuseTime(timestamp: string, toleranceS: number, nowMs: number): string | null {
  if (!/^\d{1,12}$/.test(timestamp)) return 'The timestamp is no number of seconds.'
  const awayS = Math.abs(nowMs / 1000 - Number(timestamp))
  return awayS <= toleranceS ? null : `The timestamp is ${Math.round(awayS)} s away, ${toleranceS} s are allowed.`
}
