import { LanguageError } from '../language/scope.ts'

export interface MediaType {
  /** Lower case, without parameters: `application/json`; empty where the sender named none. */
  type: string
  charset: string | undefined
}

export function parseMediaType(header: string | null): MediaType {
  const [type = '', ...parameters] = (header ?? '').slice(0, 300).split(';')
  const charset = parameters
    .map((parameter) => /^\s*charset\s*=\s*"?([^"\s]+)"?\s*$/i.exec(parameter)?.[1])
    .find((value) => value !== undefined)
  return { type: type.trim().toLowerCase(), charset }
}

/**
 * The text of a body. A byte order mark decides; then the charset of the media type; then what the first bytes of
 * an XML or HTML document declare; then UTF-8. The mark itself is no part of the text.
 */
export function decodeText(bytes: Uint8Array, { type, charset }: MediaType): string {
  const label = markedCharset(bytes) ?? charset ?? declaredCharset(bytes, type) ?? 'utf-8'
  let decoder: TextDecoder
  try {
    decoder = new TextDecoder(label)
  } catch {
    throw new LanguageError(`The body is in the character set '${label.slice(0, 40)}', which is not known here.`)
  }
  return decoder.decode(bytes)
}

function markedCharset(bytes: Uint8Array): string | undefined {
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) return 'utf-8'
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return 'utf-16le'
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return 'utf-16be'
  return undefined
}

function declaredCharset(bytes: Uint8Array, type: string): string | undefined {
  if (type.endsWith('json') || type === 'text/csv' || type === 'text/plain') return undefined
  const head = String.fromCharCode(...bytes.subarray(0, 1024))
  const xml = /^\s*<\?xml\s[^>]{0,200}?encoding\s*=\s*["']([\w-]{1,40})["']/i.exec(head)
  const html = /<meta\s[^>]{0,200}?charset\s*=\s*["']?\s*([\w-]{1,40})/i.exec(head)
  return xml?.[1] ?? html?.[1]
}
