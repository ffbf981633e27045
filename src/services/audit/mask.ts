import { isObject, type Json } from '../../lib/json.ts'
import { canonicalJson, sha256Hex } from '../../lib/canonical.ts'
import { toJsonText } from '../../db/json.ts'

const hidden = '***'
const maxDepth = 8
const maxItems = 100
const maxText = 1000
/** Of one side, as canonical JSON: what an entry may weigh. */
const maxLength = 16_384

/** Whole words of a name in any spelling: `clientSecret`, `X-Api-Key`, `access_token`; not `max_output_tokens`. */
const secretWords =
  /(^| )(password|passwd|passphrase|secrets?|token|authorization|cookie|bearer|sealed|signature|jwt|(api|private|access|signing|encryption) ?key)( |$)/
const isSecretName = (name: string): boolean =>
  name === 'key' ||
  secretWords.test(
    name
      .replace(/([a-z0-9])([A-Z])/g, '$1 $2')
      .replace(/[-_.\s]+/g, ' ')
      .toLowerCase(),
  )

/** What is a secret wherever it stands: our keys and webhook secrets, tokens, keys of the usual vendors, userinfo of a URL. */
const secretTexts =
  /\bak_(?:srv|pub)_[0-9a-f]{16,}|\bwhsec_[\w+/=-]{8,}|\bsk-[\w-]{16,}|\bxox[a-z]-[\w-]{8,}|\bgh[a-z]_\w{20,}|\bgithub_pat_\w{20,}|\b[sr]k_(?:live|test)_\w{10,}|\bAIza[\w-]{30,}|\bAKIA[0-9A-Z]{16}|(?<![\w-])(?=[\w-]*\.[\w-]{6,}\.)[\w-]*?eyJ[\w-]{6,}\.[\w-]{6,}\.[\w-]*|-----BEGIN[^-]*PRIVATE KEY-----[\s\S]*?(?:-----END[^-]*-----|$)|(?<=:\/\/)[^/?#\s@]+@/g

/**
 * What the log keeps of one side of a change: secrets hidden by name and by shape, texts and lists cut, and in all no more
 * than an entry may weigh. Null and absent are one. The result survives the database unchanged: its hash depends on that.
 */
export function masked(value: unknown): Json {
  if (value === undefined || value === null) return null
  const plain = JSON.parse(toJsonText(shown(value, false, 0))) as Json
  const text = canonicalJson(plain)
  if (text.length <= maxLength) return plain
  return { truncated: true, characters: text.length, sha256: sha256Hex(text) }
}

function shown(value: unknown, isSecret: boolean, depth: number): unknown {
  if (typeof value === 'string') return isSecret && value !== '' ? hidden : cut(value.replace(secretTexts, hidden))
  if (typeof value !== 'object' || value === null) return typeof value === 'bigint' ? String(value) : value
  if (depth >= maxDepth) return '…'
  // Secret and Date say by themselves what may be shown.
  if ('toJSON' in value && typeof value.toJSON === 'function')
    return shown((value as { toJSON(): unknown }).toJSON(), isSecret, depth)
  if (ArrayBuffer.isView(value)) return `(${value.byteLength} bytes)`
  if (Array.isArray(value)) {
    const items = value.slice(0, maxItems).map((item) => shown(item, isSecret, depth + 1))
    return value.length > maxItems ? [...items, `… ${value.length - maxItems} more`] : items
  }
  if (!isObject(value)) return null
  const entries = Object.entries(value)
  const kept = entries
    .slice(0, maxItems)
    .map(([name, each]) => [cut(name), shown(each, isSecret || isSecretName(name), depth + 1)] as const)
  if (entries.length > maxItems) kept.push(['…', `${entries.length - maxItems} more`])
  return Object.fromEntries(kept)
}

/** Never within a pair of surrogates: half of one is no text. */
function cut(text: string): string {
  if (text.length <= maxText) return text
  const end = /[\ud800-\udbff]/.test(text[maxText - 1]!) ? maxText - 1 : maxText
  return `${text.slice(0, end)}… (${text.length} characters)`
}

/** The members that differ, each side of them: what an entry of a change shows. */
export function changesOf(before: object, after: object): { before: Json; after: Json } {
  const from = before as Record<string, unknown>
  const to = after as Record<string, unknown>
  const names = [...new Set([...Object.keys(from), ...Object.keys(to)])]
  const changed = names.filter((name) => canonicalJson(from[name]) !== canonicalJson(to[name]))
  const side = (all: Record<string, unknown>): Json =>
    Object.fromEntries(changed.map((name) => [name, (all[name] ?? null) as Json]))
  return { before: side(from), after: side(to) }
}
