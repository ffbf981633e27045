import type { WebhookAuth } from '../../db/tables/webhooks.table.ts'
import { AppError, type Fault } from '../../lib/errors.ts'
import type { Json, JsonObject } from '../../lib/json.ts'
import { checkExpression } from '../../lib/language/expression.ts'
import { checkTree } from '../../lib/language/tree.ts'
import { keyOfSecret } from '../../lib/standard-webhooks.ts'

/** As a caller writes it: everything but the mode has a default. */
export type AuthSettings =
  | {
      mode: 'signature'
      scheme?: 'standard' | 'hmac_sha256' | undefined
      header?: string | undefined
      prefix?: string | undefined
      encoding?: 'hex' | 'base64' | undefined
      timestamp_header?: string | null | undefined
      tolerance?: number | undefined
    }
  | { mode: 'header_token'; header?: string | undefined }
  | { mode: 'url_token' }

export interface WebhookSettings {
  name?: string | undefined
  auth?: AuthSettings | undefined
  filter?: string | null | undefined
  input_mapping?: JsonObject | null | undefined
  event_id_header?: string | null | undefined
  rate_limit?: number | undefined
  max_body_bytes?: number | undefined
  active?: boolean | undefined
  priority?: number | null | undefined
}

export const defaults = { tolerance: 300, rateLimit: 60, maxBodyBytes: 1_048_576, tokenHeader: 'x-webhook-token' }

/** What a filter and a mapping can see. */
export const scopeNames = ['body', 'headers', 'query', 'webhook'] as const

export function completeAuth(auth: AuthSettings = { mode: 'signature' }): WebhookAuth {
  if (auth.mode === 'url_token') return { mode: 'url_token' }
  if (auth.mode === 'header_token') return { mode: 'header_token', header: lower(auth.header) ?? defaults.tokenHeader }
  const tolerance = auth.tolerance ?? defaults.tolerance
  if (auth.scheme !== 'hmac_sha256') {
    const odd = (['header', 'prefix', 'encoding', 'timestamp_header'] as const).filter(
      (name) => auth[name] !== undefined,
    )
    if (odd.length > 0) {
      throw invalid(odd.map((name) => ({ pointer: `/auth/${name}`, detail: 'goes with the scheme hmac_sha256 alone' })))
    }
    return { mode: 'signature', scheme: 'standard', tolerance }
  }
  return {
    mode: 'signature',
    scheme: 'hmac_sha256',
    header: lower(auth.header) ?? 'x-hub-signature-256',
    prefix: auth.prefix ?? (auth.header === undefined ? 'sha256=' : ''),
    encoding: auth.encoding ?? 'hex',
    timestamp_header: lower(auth.timestamp_header ?? undefined) ?? null,
    tolerance,
  }
}

const lower = (name: string | undefined) => name?.toLowerCase()

/** Every fault of a filter, a mapping and a secret, at once. */
export function checkSettings(input: WebhookSettings, secret: string | undefined, auth: WebhookAuth): void {
  const faults: Fault[] = []
  if (input.filter !== undefined && input.filter !== null) {
    const { faults: found, references } = checkExpression(input.filter)
    for (const detail of found) faults.push({ pointer: '/filter', detail })
    for (const { root } of references) if (!isKnown(root)) faults.push({ pointer: '/filter', detail: unknown(root) })
  }
  if (input.input_mapping !== undefined && input.input_mapping !== null) {
    const checked = checkTree(input.input_mapping as Json, '/input_mapping')
    faults.push(...checked.faults)
    for (const { root, pointer } of checked.references)
      if (!isKnown(root)) faults.push({ pointer, detail: unknown(root) })
    for (const { pointer } of checked.secrets)
      faults.push({ pointer, detail: 'A secret cannot be an input: name it in the step that sends it.' })
  }
  if (secret !== undefined) {
    const key = keyOfSecret(secret)
    const isStandard = auth.mode === 'signature' && auth.scheme === 'standard'
    if (isStandard && (key === null || key.length < 16))
      faults.push({ pointer: '/secret', detail: 'must be whsec_ and the base64 of at least 16 bytes' })
    if (auth.mode !== 'signature' && !/^[\x21-\x7e]+$/.test(secret))
      faults.push({
        pointer: '/secret',
        detail: 'must be visible ASCII characters: it is sent as a header or in an address',
      })
  }
  if (faults.length > 0) throw invalid(faults)
}

const invalid = (errors: Fault[]) => new AppError('invalid', 'The webhook has faults.', { errors })
const isKnown = (root: string) => (scopeNames as readonly string[]).includes(root)
const unknown = (root: string) => `Nothing is named ${root} here. There are ${scopeNames.join(', ')}.`
