import { parseFeed as readFeed } from 'feedsmith'
import type { Json, JsonObject } from '../json.ts'
import { isoText, parseInstant } from '../language/instant.ts'
import { LanguageError } from '../language/scope.ts'
import { markupToText } from './html-text.ts'
import { slicesOfFeed } from './feed-slices.ts'
import { nextTurn } from '../next-turn.ts'
import { parseJson } from './json.ts'

/** The one shape of RSS, Atom, RDF and JSON Feed. Dates are ISO-8601 or null; HTML has become text. */
export interface Feed {
  title: string | null
  link: string | null
  description: string | null
  updated: string | null
  items: FeedItem[]
}

export interface FeedItem {
  id: string | null
  title: string | null
  link: string | null
  published: string | null
  updated: string | null
  author: string | null
  summary: string | null
  content_text: string | null
  categories: string[]
}

const maxItems = 5000
/** Characters of a feed. The largest that are published stay below. */
const maxLength = 3_000_000

/** What a feed can look like at its start; the sniffing of `auto` and a first check of `feed` use it. */
export function looksLikeFeed(text: string): boolean {
  const head = text.slice(0, 4000)
  return (
    /<(?:rss|feed|(?:\w+:)?RDF)[\s>]/i.test(head) || /^\s*\{[^]*"https?:\/\/(?:www\.)?jsonfeed\.org\/version/.test(head)
  )
}

/** In slices of some items each: whoever else waits for this thread comes between two of them. */
export async function parseFeed(text: string): Promise<Feed> {
  if (text.length > maxLength) {
    throw new LanguageError(`The feed has ${text.length} characters; ${maxLength} can be read.`)
  }
  let whole: Feed | undefined
  for (const slice of slicesOfFeed(text)) {
    if (whole) await nextTurn()
    const part = toFeed(read(slice))
    whole = {
      title: whole?.title ?? part.title,
      link: whole?.link ?? part.link,
      description: whole?.description ?? part.description,
      updated: whole?.updated ?? part.updated,
      items: [...(whole?.items ?? []), ...part.items].slice(0, maxItems),
    }
    if (whole.items.length >= maxItems) break
  }
  return whole!
}

function toFeed({ format, feed }: { format: string; feed: JsonObject }): Feed {
  if (format === 'atom') return fromAtom(feed)
  if (format === 'json') return fromJsonFeed(feed)
  return fromRss(feed)
}

/** The library's types are deeply partial, so the answer is read as what it is: data from a stranger. */
function read(text: string): { format: string; feed: JsonObject } {
  // JSON is parsed here first: its depth is bounded, and the fault is then the one of JSON.
  const source = text.trimStart().startsWith('{') ? parseJson(text) : text
  try {
    return readFeed(source) as unknown as { format: string; feed: JsonObject }
  } catch {
    throw new LanguageError('The body is no feed: RSS, Atom, RDF and JSON Feed are known.')
  }
}

function fromRss(feed: JsonObject): Feed {
  return {
    title: markup(feed.title),
    link: str(feed.link),
    description: markup(feed.description),
    updated: date(feed.lastBuildDate) ?? date(feed.pubDate) ?? date(at(feed, 'dc', 'dates', 0)),
    items: list(feed.items).map((item) => ({
      id: str(at(item, 'guid', 'value')) ?? str(at(item, 'rdf', 'about')) ?? str(at(item, 'link')),
      title: markup(at(item, 'title')),
      link: str(at(item, 'link')) ?? permalink(item),
      published: date(at(item, 'pubDate')) ?? date(at(item, 'dc', 'dates', 0)),
      updated: date(at(item, 'atom', 'updated')) ?? date(at(item, 'dcterms', 'modified', 0)),
      author: person(at(item, 'authors', 0)) ?? str(at(item, 'dc', 'creators', 0)),
      summary: markup(at(item, 'description')),
      content_text: markup(at(item, 'content', 'encoded')) ?? markup(at(item, 'description')),
      categories: names(at(item, 'categories'), 'name'),
    })),
  }
}

/** A guid is a link unless it says otherwise. */
function permalink(item: Json): string | null {
  const guid = str(at(item, 'guid', 'value'))
  return guid !== null && at(item, 'guid', 'isPermaLink') !== false && /^https?:\/\//.test(guid) ? guid : null
}

function fromAtom(feed: JsonObject): Feed {
  return {
    title: textConstruct(feed.title),
    link: alternate(feed.links),
    description: textConstruct(feed.subtitle),
    updated: date(feed.updated),
    items: list(feed.entries).map((entry) => ({
      id: str(at(entry, 'id')),
      title: textConstruct(at(entry, 'title')),
      link: alternate(at(entry, 'links')),
      published: date(at(entry, 'published')) ?? date(at(entry, 'updated')),
      updated: date(at(entry, 'updated')),
      author: person(at(entry, 'authors', 0)) ?? person(at(feed, 'authors', 0)),
      summary: textConstruct(at(entry, 'summary')) ?? textConstruct(at(entry, 'content')),
      content_text: textConstruct(at(entry, 'content')) ?? textConstruct(at(entry, 'summary')),
      categories: names(at(entry, 'categories'), 'term'),
    })),
  }
}

function fromJsonFeed(feed: JsonObject): Feed {
  return {
    title: str(feed.title),
    link: str(feed.home_page_url),
    description: str(feed.description),
    updated: null,
    items: list(feed.items).map((item) => {
      const content = str(at(item, 'content_text')) ?? markup(at(item, 'content_html'))
      return {
        id: str(at(item, 'id')) ?? str(at(item, 'url')),
        title: str(at(item, 'title')),
        link: str(at(item, 'url')) ?? str(at(item, 'external_url')),
        published: date(at(item, 'date_published')),
        updated: date(at(item, 'date_modified')),
        author: person(at(item, 'authors', 0)) ?? person(at(feed, 'authors', 0)),
        summary: str(at(item, 'summary')) ?? content,
        content_text: content,
        categories: list(at(item, 'tags')).flatMap((tag) => str(tag) ?? []),
      }
    }),
  }
}

function at(value: Json | undefined, ...path: (string | number)[]): Json | undefined {
  let current: Json | undefined = value
  for (const key of path) {
    if (typeof current !== 'object' || current === null || !Object.hasOwn(current, key)) return undefined
    current = (current as JsonObject)[key]
  }
  return current
}

function list(value: Json | undefined): Json[] {
  return Array.isArray(value) ? value.slice(0, maxItems) : []
}

function str(value: Json | undefined): string | null {
  if (typeof value === 'number') return String(value)
  return typeof value === 'string' && value.trim() !== '' ? value.trim() : null
}

function markup(value: Json | undefined): string | null {
  const text = str(value)
  return text === null ? null : markupToText(text) || null
}

/** Atom says whether a text is HTML; plain text with a `<` in it stays as it is. */
function textConstruct(value: Json | undefined): string | null {
  const type = at(value, 'type')
  const text = str(at(value, 'value') ?? value)
  return type === 'html' || type === 'xhtml' || type === 'text/html' ? markup(text) : text
}

function date(value: Json | undefined): string | null {
  const text = str(value)
  const instant = text === null ? null : parseInstant(text.replaceAll(/\s+/g, ' '))
  return instant === null ? null : isoText(instant)
}

function person(value: Json | undefined): string | null {
  return str(at(value, 'name')) ?? str(at(value, 'email')) ?? str(value)
}

function names(value: Json | undefined, key: string): string[] {
  return [...new Set(list(value).flatMap((entry) => str(at(entry, key)) ?? []))]
}

function alternate(links: Json | undefined): string | null {
  const all = list(links)
  const found = all.find((link) => (at(link, 'rel') ?? 'alternate') === 'alternate') ?? all[0]
  return str(at(found, 'href'))
}
