import type { WebhookAuth } from '../../db/tables/webhooks.table.ts'
import { toHex } from '../../lib/hex.ts'
import { keyOfSecret } from '../../lib/standard-webhooks.ts'

/** A command that works as it is, in sh with curl and openssl. */
export function curlFor(url: string, auth: WebhookAuth, secret: string): string {
  const post = (address: string, headers: string[]) =>
    [`curl -X POST ${address}`, `-H 'content-type: application/json'`, ...headers, `-d "$body"`].join(' \\\n  ')
  const body = `body='{"hello":"world"}'`
  if (auth.mode === 'url_token') return `${body}\n${post(quoted(`${url}?token=${encodeURIComponent(secret)}`), [])}`
  if (auth.mode === 'header_token')
    return `${body}\n${post(quoted(url), [`-H ${quoted(`${auth.header}: ${secret}`)}`])}`
  if (auth.scheme === 'standard') {
    return [
      body,
      `id=msg_$(date +%s) at=$(date +%s)`,
      `signature=$(printf %s "$id.$at.$body" | openssl dgst -sha256 -mac HMAC -macopt hexkey:${toHex(keyOfSecret(secret)!)} -binary | base64)`,
      post(quoted(url), [
        `-H "webhook-id: $id"`,
        `-H "webhook-timestamp: $at"`,
        `-H "webhook-signature: v1,$signature"`,
      ]),
    ].join('\n')
  }
  const key = toHex(new TextEncoder().encode(secret))
  const output = auth.encoding === 'base64' ? '-binary | base64' : '-binary | od -An -vtx1 | tr -d " \\n"'
  const content = auth.timestamp_header === null ? '$body' : '$at.$body'
  return [
    body,
    ...(auth.timestamp_header === null ? [] : [`at=$(date +%s)`]),
    `signature=$(printf %s "${content}" | openssl dgst -sha256 -mac HMAC -macopt hexkey:${key} ${output})`,
    post(quoted(url), [
      ...(auth.timestamp_header === null ? [] : [`-H "${auth.timestamp_header}: $at"`]),
      `-H "${auth.header}: ${auth.prefix}$signature"`,
    ]),
  ].join('\n')
}

const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`
