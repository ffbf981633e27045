import { compile } from 'html-to-text'
import { LanguageError } from '../language/scope.ts'

const maxLength = 5_000_000

/** Link targets and images are left out: what is watched and summarized is what a reader reads. */
const convert = compile({
  wordwrap: false,
  limits: { maxInputLength: maxLength, maxDepth: 200 },
  selectors: [
    { selector: 'a', options: { ignoreHref: true } },
    { selector: 'img', format: 'skip' },
    { selector: 'svg', format: 'skip' },
    { selector: 'noscript', format: 'skip' },
    { selector: 'template', format: 'skip' },
    ...['h1', 'h2', 'h3', 'h4', 'h5', 'h6'].map((selector) => ({ selector, options: { uppercase: false } })),
    { selector: 'table', options: { uppercaseHeaderCells: false } },
  ],
})

/** The text that a reader of the page sees; scripts and styles are gone, blocks are separated by line breaks. */
export function htmlToText(html: string): string {
  if (html.length > maxLength) {
    throw new LanguageError(`The page has ${html.length} characters; ${maxLength} can be turned into text.`)
  }
  return convert(html).trim()
}

/** Text that may be HTML, such as a feed's summaries. Without markup it stays as it is. */
export function markupToText(text: string): string {
  return /[<&]/.test(text) ? htmlToText(text) : text.trim()
}
