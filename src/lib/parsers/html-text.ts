import { Parser } from 'htmlparser2'
import { LanguageError } from '../language/scope.ts'
import { nextTurn } from '../next-turn.ts'

const maxLength = 5_000_000
/** The parser's own bookkeeping grows with the square of the nesting; pages that people read stay far below. */
const maxDepth = 1000

/** What a reader does not see. The head's title is no part of the page either. */
const hidden = new Set([
  'script',
  'style',
  'noscript',
  'template',
  'svg',
  'math',
  'title',
  'iframe',
  'object',
  'select',
])
/** Set apart by an empty line. */
const paragraphs = new Set([
  'p',
  'h1',
  'h2',
  'h3',
  'h4',
  'h5',
  'h6',
  'ul',
  'ol',
  'dl',
  'table',
  'blockquote',
  'pre',
  'figure',
  'form',
  'hr',
])
/** On lines of their own. */
const lines = new Set([
  'address',
  'article',
  'aside',
  'body',
  'caption',
  'dd',
  'details',
  'div',
  'dt',
  'fieldset',
  'figcaption',
  'footer',
  'header',
  'legend',
  'li',
  'main',
  'nav',
  'option',
  'section',
  'summary',
  'tbody',
  'tfoot',
  'thead',
  'tr',
])

/**
 * The text that a reader of the page sees: blocks on lines of their own, list items with a dash or their number,
 * table cells separated by ` | `. Link targets and images are left out.
 */
export function htmlToText(html: string): string {
  const reader = readerOfPages()
  reader.write(html)
  return reader.end()
}

/** Characters that are read in one go: a few milliseconds. */
const sliceLength = 100_000

/** As htmlToText, for whole pages: whoever else waits for this thread comes between two slices. */
export async function pageToText(html: string): Promise<string> {
  if (html.length > maxLength) {
    throw new LanguageError(`The page has ${html.length} characters; ${maxLength} can be turned into text.`)
  }
  const reader = readerOfPages()
  for (let at = 0; at < html.length; at += sliceLength) {
    if (at > 0) await nextTurn()
    reader.write(html.slice(at, at + sliceLength))
  }
  return reader.end()
}

function readerOfPages(): { write(html: string): void; end(): string } {
  const text = new TextBuilder()
  const lists: (number | null)[] = []
  let depth = 0
  let hiddenDepth = 0
  const parser = new Parser({
    onopentag(name) {
      depth += 1
      if (depth > maxDepth) throw new LanguageError(`The page is nested deeper than ${maxDepth} elements.`)
      if (hiddenDepth > 0 || hidden.has(name)) {
        hiddenDepth += 1
        return
      }
      if (name === 'br') text.lineBreak()
      else if (paragraphs.has(name)) text.apart(lists.length > 0 && isList(name) ? 1 : 2)
      else if (lines.has(name)) text.apart(1)
      if (isList(name)) lists.push(name === 'ol' ? 0 : null)
      if (name === 'li') text.mark(marker(lists))
      if (name === 'td' || name === 'th') text.cell()
      if (name === 'pre') text.verbatim += 1
    },
    ontext(part) {
      if (hiddenDepth === 0) text.write(part)
    },
    onclosetag(name) {
      depth -= 1
      if (hiddenDepth > 0) {
        hiddenDepth -= 1
        return
      }
      if (isList(name)) lists.pop()
      if (name === 'pre') text.verbatim -= 1
      if (paragraphs.has(name)) text.apart(lists.length > 0 && isList(name) ? 1 : 2)
      else if (lines.has(name)) text.apart(1)
    },
  })
  return {
    write: (html) => parser.write(html),
    end() {
      parser.end()
      return text.toString()
    },
  }
}

const isList = (name: string) => name === 'ul' || name === 'ol'

/** `- ` or `3. `, indented by how many lists the item is inside of. */
function marker(lists: (number | null)[]): string {
  const indent = '  '.repeat(Math.max(0, Math.min(lists.length, 10) - 1))
  const count = lists.at(-1)
  if (count === null || count === undefined) return `${indent}- `
  lists[lists.length - 1] = count + 1
  return `${indent}${count + 1}. `
}

/** Collapses white space as a browser does, and puts line breaks only between what has text. */
class TextBuilder {
  verbatim = 0
  readonly #parts: string[] = []
  #breaks = 0
  #space = false
  #atLineStart = true
  #prefix = ''

  apart(breaks: number): void {
    if (this.#parts.length > 0) this.#breaks = Math.max(this.#breaks, breaks)
    this.#space = false
    this.#prefix = ''
    this.#atLineStart = true
  }

  lineBreak(): void {
    this.#breaks = Math.min(this.#breaks + 1, 2)
    this.#space = false
    this.#atLineStart = true
  }

  mark(prefix: string): void {
    this.#prefix = prefix
  }

  cell(): void {
    if (!this.#atLineStart) this.#prefix = ' | '
  }

  write(raw: string): void {
    const text = this.verbatim > 0 ? raw : raw.replaceAll(/[ \t\n\r\f\u00a0]+/g, ' ')
    // Other spaces, such as wide ones, are text: one that ends a slice still stands between two words.
    const body = this.verbatim > 0 ? text : text.replaceAll(/^ | $/g, '')
    if (body === '') {
      this.#space ||= text !== ''
      return
    }
    if (this.#breaks > 0 && this.#parts.length > 0) this.#parts.push('\n'.repeat(this.#breaks))
    else if (
      this.#prefix === '' &&
      this.#parts.length > 0 &&
      (this.#space || text.startsWith(' ')) &&
      this.verbatim === 0
    ) {
      this.#parts.push(' ')
    }
    this.#parts.push(this.#prefix, body)
    this.#breaks = 0
    this.#prefix = ''
    this.#atLineStart = false
    this.#space = this.verbatim === 0 && text.endsWith(' ')
  }

  toString(): string {
    return this.#parts.join('').trim()
  }
}

/** Text that may be HTML, such as a feed's summaries. Without markup it stays as it is. */
export function markupToText(text: string): string {
  return /[<&]/.test(text) ? htmlToText(text) : text.trim()
}
