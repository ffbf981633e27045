import { sha256Hex } from './canonical.ts'

export interface FormPart {
  name: string
  content: string | { bytes: Uint8Array; fileName: string; mediaType: string }
}

/** Parts that are read at all. */
export const mostParts = 1000

/** The parts of a multipart/form-data body in their order; null where it is none. */
export async function readForm(bytes: Uint8Array, contentType: string): Promise<FormPart[] | null> {
  let form: FormData
  try {
    form = await new Response(bytes as BodyInit, { headers: { 'content-type': contentType } }).formData()
  } catch {
    return null
  }
  const parts: FormPart[] = []
  for (const [name, value] of form) {
    if (parts.length >= mostParts) return null
    if (typeof value === 'string') parts.push({ name, content: value })
    else {
      const content = { bytes: new Uint8Array(await value.arrayBuffer()), fileName: value.name, mediaType: value.type }
      parts.push({ name, content })
    }
  }
  return parts
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
