import { sha256Hex } from './canonical.ts'

export interface FormPart {
  name: string
  content: string | { bytes: Uint8Array; fileName: string; mediaType: string }
}

/** Parts that are read at all. */
export const mostParts = 1000
const longestHead = 16_384
/** Of all parts together. */
const longestHeads = 1_000_000

/**
 * The parts of a multipart/form-data body (RFC 7578) in their order; null where it is none. Not the parsers of the runtimes:
 * they differ, and one of them refuses boundaries that are in use.
 */
export function readForm(bytes: Uint8Array, contentType: string): FormPart[] | null {
  const boundary = parameter(contentType, 'boundary')
  if (boundary === undefined || !/^[\x20-\x7e]{1,200}$/.test(boundary)) return null
  // A delimiter begins a line; the first one may begin the body.
  const delimiter = latin(`\r\n--${boundary}`)
  const isFirst = startsWith(bytes, 0, delimiter.subarray(2))
  let at = isFirst ? delimiter.length - 2 : indexOf(bytes, delimiter, 0) + delimiter.length
  if (!isFirst && at < delimiter.length) return null
  const parts: FormPart[] = []
  let ofHeads = 0
  for (;;) {
    if (startsWith(bytes, at, latin('--'))) return parts
    while (bytes[at] === 0x20 || bytes[at] === 0x09) at++
    if (!startsWith(bytes, at, crlf)) return null
    at += 2
    // A part may have no header at all: then the empty line follows at once.
    const headEnd = startsWith(bytes, at, crlf) ? at : indexOf(bytes, latin('\r\n\r\n'), at)
    if (headEnd < 0 || headEnd - at > longestHead || parts.length >= mostParts) return null
    ofHeads += headEnd - at
    if (ofHeads > longestHeads) return null
    const start = headEnd === at ? at + 2 : headEnd + 4
    // The line break before the delimiter is the delimiter's: of an empty part it is also the one that ends the head.
    const end = indexOf(bytes, delimiter, start - 2)
    if (end < 0) return null
    const part = partOf(new TextDecoder().decode(bytes.subarray(at, headEnd)), bytes.slice(start, Math.max(start, end)))
    if (!part) return null
    parts.push(part)
    at = end + delimiter.length
  }
}

function partOf(head: string, content: Uint8Array): FormPart | null {
  const headers = new Map<string, string>()
  for (const line of head.split('\r\n')) {
    const colon = line.indexOf(':')
    if (colon > 0) headers.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim())
  }
  const disposition = headers.get('content-disposition') ?? ''
  const name = parameter(disposition, 'name')
  if (!/^form-data\s*(;|$)/i.test(disposition) || name === undefined) return null
  const fileName = extended(parameter(disposition, 'filename*')) ?? parameter(disposition, 'filename')
  if (fileName === undefined) return { name: unescaped(name), content: new TextDecoder().decode(content) }
  const mediaType = headers.get('content-type') ?? 'application/octet-stream'
  return { name: unescaped(name), content: { bytes: content, fileName: unescaped(fileName), mediaType } }
}

/** Of a header such as `form-data; name="a"; filename="b"`; a backslash only hides quotes, as browsers and curl have it. */
function parameter(header: string, wanted: string): string | undefined {
  const next = /;\s*([^=;\s]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;]*))/g
  for (const [, name, quotedText, bare] of header.matchAll(next))
    if (name!.toLowerCase() === wanted) return quotedText?.replace(/\\(["\\])/g, '$1') ?? bare!.trim()
  return undefined
}

/** `UTF-8''na%C3%AFve.txt` */
function extended(text: string | undefined): string | undefined {
  const encoded = /^utf-8'[^']*'(.*)$/i.exec(text ?? '')?.[1]
  try {
    return encoded === undefined ? undefined : decodeURIComponent(encoded)
  } catch {
    return undefined
  }
}

const crlf = new Uint8Array([13, 10])
const latin = (text: string): Uint8Array => Uint8Array.from(text, (character) => character.charCodeAt(0))

function startsWith(bytes: Uint8Array, at: number, wanted: Uint8Array): boolean {
  for (let index = 0; index < wanted.length; index++) if (bytes[at + index] !== wanted[index]) return false
  return at >= 0
}

function indexOf(bytes: Uint8Array, wanted: Uint8Array, from: number): number {
  for (let at = bytes.indexOf(wanted[0]!, from); at >= 0; at = bytes.indexOf(wanted[0]!, at + 1))
    if (startsWith(bytes, at, wanted)) return at
  return -1
}

/** The same parts with the same seed are the same bytes: a request that is repeated must not differ. */
export function writeForm(
  parts: readonly FormPart[],
  seed: string,
): { bytes: Uint8Array<ArrayBuffer>; mediaType: string } {
  const boundary = `automatos-${sha256Hex(seed).slice(0, 40)}`
  const encoder = new TextEncoder()
  const chunks: Uint8Array[] = []
  for (const { name, content } of parts) {
    const isText = typeof content === 'string'
    const head = [
      `--${boundary}`,
      `Content-Disposition: form-data; name="${quoted(name)}"${isText ? '' : `; filename="${quoted(content.fileName)}"`}`,
      ...(isText ? [] : [`Content-Type: ${content.mediaType}`]),
    ]
    chunks.push(encoder.encode(`${head.join('\r\n')}\r\n\r\n`))
    chunks.push(isText ? encoder.encode(content) : content.bytes, encoder.encode('\r\n'))
  }
  chunks.push(encoder.encode(`--${boundary}--\r\n`))
  const bytes = new Uint8Array(chunks.reduce((size, chunk) => size + chunk.byteLength, 0))
  let offset = 0
  for (const chunk of chunks) {
    bytes.set(chunk, offset)
    offset += chunk.byteLength
  }
  return { bytes, mediaType: `multipart/form-data; boundary=${boundary}` }
}

/** As the HTML standard writes names: nothing in one can end its line or its quotes. */
const quoted = (name: string): string => name.replaceAll('\r', '%0D').replaceAll('\n', '%0A').replaceAll('"', '%22')

/** What `quoted` and browsers write, read back. */
const unescaped = (name: string): string =>
  name.replace(/%(0D|0A|22)/gi, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)))
