const longestName = 255

/** The last segment of a path, without what no file system and no header takes. */
export function fileName(given: string | null | undefined, fallback = 'file'): string {
  const last = (given ?? '').replaceAll('\\', '/').split('/').at(-1)!
  // oxlint-disable-next-line no-control-regex -- control characters are what is taken out
  const name = last.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, '').trim()
  const kept = [...wellFormed(name)].slice(0, longestName).join('')
  return kept === '' || /^\.+$/.test(kept) ? fallback : kept
}

/** A lone surrogate is no character: UTF-8 has none for it. */
const wellFormed = (text: string) => new TextDecoder().decode(new TextEncoder().encode(text))

const token = '[A-Za-z0-9!#$&^_.+-]{1,100}'
const pattern = new RegExp(
  `^${token}/${token}(?:\\s*;\\s*${token}=(?:${token}|"[\\x20\\x21\\x23-\\x5b\\x5d-\\x7e]{0,100}"))*$`,
)

/** The declared media type, or that of plain bytes where what is declared is none. */
export function mediaTypeOf(declared: string | null | undefined): string {
  const text = (declared ?? '').trim()
  return text.length <= 200 && pattern.test(text) ? text : 'application/octet-stream'
}

/** A download that no browser shows, whatever is in it (RFC 6266: the name as ASCII, and as it is). */
export function attachment(name: string): string {
  const ascii = name.replace(/[^\x20-\x7e]|["\\%]/g, '_')
  const exact = encodeURIComponent(name).replace(/['()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
  return `attachment; filename="${ascii}"; filename*=UTF-8''${exact}`
}

/** What an answer calls its body: by its header, else by the last segment of its address. */
export function nameOfAnswer(disposition: string | null, url: string): string {
  const exact = /filename\*\s*=\s*UTF-8''([^;\s]+)/i.exec(disposition ?? '')?.[1]
  const plain = /filename\s*=\s*(?:"([^"]*)"|([^;\s]+))/i.exec(disposition ?? '')
  const path = URL.canParse(url) ? new URL(url).pathname : ''
  return fileName(decoded(exact) ?? plain?.[1] ?? plain?.[2] ?? decoded(path))
}

function decoded(text: string | undefined): string | undefined {
  try {
    return text === undefined ? undefined : decodeURIComponent(text)
  } catch {
    return undefined
  }
}
