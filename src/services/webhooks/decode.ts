import { AppError } from '../../lib/errors.ts'
import type { Json } from '../../lib/json.ts'
import { parseJsonBody } from '../../lib/json-body.ts'

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false })

/** The body as a filter, a mapping and a recipe see it. Nothing sent is null; what is no JSON and no form is text. */
export function decodeBody(bytes: Uint8Array, contentType: string | null): Json {
  if (bytes.byteLength === 0) return null
  const type = (contentType ?? '').split(';')[0]!.trim().toLowerCase()
  if (/^application\/(?:[a-z0-9!#$&^_.-]+\+)?json$/.test(type)) return parseJsonBody(bytes) as Json
  if (type.startsWith('multipart/'))
    throw new AppError('unsupported-media-type', 'Of multipart bodies only multipart/form-data is taken.')
  const text = decodeText(bytes)
  return type === 'application/x-www-form-urlencoded' ? formOf(text) : text
}

function decodeText(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes)
  } catch {
    throw new AppError('unsupported-media-type', 'The body is neither JSON, a form nor UTF-8 text.')
  }
}

/** Each becomes a member, which costs far more than its few bytes. */
const mostFields = 10_000

function formOf(text: string): Json {
  let fields = 1
  for (let at = text.indexOf('&'); at >= 0 && fields <= mostFields; at = text.indexOf('&', at + 1)) fields += 1
  if (fields > mostFields) throw new AppError('too-large', `A form takes ${mostFields} fields at most.`)
  return fieldsOf(new URLSearchParams(text))
}

/** A name that comes once is a value, one that repeats a list. */
export function fieldsOf(entries: Iterable<[string, Json]>): Json {
  const fields = new Map<string, Json>()
  for (const [name, value] of entries) {
    const before = fields.get(name)
    if (before === undefined) fields.set(name, value)
    else if (Array.isArray(before)) before.push(value)
    else fields.set(name, [before, value])
  }
  fields.delete('__proto__')
  return Object.fromEntries(fields)
}
