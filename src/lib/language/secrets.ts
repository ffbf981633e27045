import { toHex } from '../hex.ts'
import { LanguageError } from './scope.ts'

/** `slug.field`: a credential of the workspace and the field of it that is meant. */
export const secretRefPattern = /^[a-z][a-z0-9-]{1,62}\.[A-Za-z0-9_-]{1,64}$/

let nonce: string | undefined

/**
 * Made once a process and never written down, so that no data can name it. Lazily, because Workers refuse
 * random values while modules load.
 */
function processNonce(): string {
  nonce ??= toHex(crypto.getRandomValues(new Uint8Array(16)))
  return nonce
}

/**
 * What `{{ secret('slug.field') }}` renders to. Letters, digits, `-` and `_` only, so it survives URLs, headers,
 * JSON and form bodies unchanged until the egress guard replaces it.
 */
export function secretPlaceholder(ref: string): string {
  if (!secretRefPattern.test(ref)) throw new LanguageError(`'${ref.slice(0, 100)}' is not a secret: write slug.field.`)
  return `secret_${processNonce()}_${toHex(new TextEncoder().encode(ref))}_`
}

export function hasSecretPlaceholder(text: string): boolean {
  return nonce !== undefined && text.includes(`secret_${nonce}_`)
}

/** Looks each secret up once, and puts values in verbatim: a value that looks like a placeholder stays as it is. */
export async function replaceSecretPlaceholders(
  text: string,
  lookup: (ref: string) => Promise<string>,
): Promise<string> {
  if (!hasSecretPlaceholder(text)) return text
  const pattern = new RegExp(`secret_${nonce}_((?:[0-9a-f]{2})+)_`, 'g')
  const values = new Map<string, string>()
  for (const [, encoded = ''] of text.matchAll(pattern)) {
    if (!values.has(encoded)) values.set(encoded, await lookup(unhex(encoded)))
  }
  return text.replace(pattern, (_, encoded: string) => values.get(encoded) ?? '')
}

/** A text with its secrets as references: it can be written down, and filled in by any process. */
export type KeptText = (string | { secret: string })[]

export function keepSecrets(text: string): KeptText {
  if (nonce === undefined || !text.includes(nonce)) return [text]
  // What is split at a group alternates: text, what the group has matched, text.
  const parts = text.split(new RegExp(`secret_${nonce}_((?:[0-9a-f]{2})+)_`))
  if (parts.some((part) => part.includes(nonce!))) throw new LanguageError('A secret() has been cut.')
  return parts.map((part, index) => (index % 2 === 0 ? part : { secret: unhex(part) }))
}

/** The text with placeholders of this process, as it was where it was rendered. */
export const withSecrets = (kept: KeptText): string =>
  kept.map((part) => (typeof part === 'string' ? part : secretPlaceholder(part.secret))).join('')

function unhex(text: string): string {
  return new TextDecoder().decode(Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16)))
}
