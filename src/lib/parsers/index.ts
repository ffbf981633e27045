import type { Json } from '../json.ts'
import { LanguageError } from '../language/scope.ts'
import { parseCsv } from './csv.ts'
import { decodeText, type MediaType, parseMediaType } from './decode.ts'
import { type Feed, looksLikeFeed, parseFeed } from './feed.ts'
import { pageToText } from './html-text.ts'
import { parseJson } from './json.ts'

export type ParseMode = 'auto' | 'json' | 'text' | 'csv' | 'feed' | 'html_text'

/** Bytes that are parsed at all; the egress guard's own limit on bodies comes first. */
const maxBytes = 10_000_000

/**
 * The body of an answer as a value, by mode or, with `auto`, by its media type. An empty body is null for `auto`.
 * Throws LanguageError with what is wrong with the body.
 */
export async function parseBody(bytes: Uint8Array, mediaType: string | null, mode: ParseMode): Promise<Json> {
  if (bytes.length > maxBytes) {
    throw new LanguageError(`The body has ${bytes.length} bytes; ${maxBytes} can be parsed.`)
  }
  const media = parseMediaType(mediaType)
  const text = decodeText(bytes, media)
  if (mode !== 'auto') return parseAs(mode, text)
  const detected = detect(media, text)
  return detected !== 'text' && text.trim() === '' ? null : parseAs(detected, text)
}

async function parseAs(mode: Exclude<ParseMode, 'auto'>, text: string): Promise<Json> {
  switch (mode) {
    case 'json':
      return parseJson(text)
    case 'csv':
      return parseCsv(text)
    case 'feed':
      return toJson(await parseFeed(text))
    case 'html_text':
      return pageToText(text)
    case 'text':
      return text
  }
}

/** An interface has no index signature, though its value is plain JSON. */
function toJson(feed: Feed): Json {
  return { ...feed, items: feed.items.map((item) => ({ ...item })) }
}

/** HTML stays text: what to make of a page is the recipe's choice. */
function detect({ type }: MediaType, text: string): Exclude<ParseMode, 'auto'> {
  if (/^application\/(?:rss|atom|rdf)\+xml$/.test(type) || type === 'application/feed+json') return 'feed'
  if (type === 'application/json' || type === 'text/json' || type.endsWith('+json')) return 'json'
  if (type === 'text/csv' || type === 'text/tab-separated-values') return 'csv'
  if ((type.endsWith('/xml') || type.endsWith('+xml')) && looksLikeFeed(text)) return 'feed'
  return 'text'
}
