import { LanguageError } from '../language/scope.ts'

/** Characters that are read in one go: some tens of milliseconds. */
const sliceLength = 50_000
/** What stands round the items comes again with each slice. */
const maxAround = 100_000
const maxItemLength = 500_000

/**
 * A large feed as several small ones: each has what stands round the items, and some of them. Their reader takes all of a
 * document at once, and for as long nobody else gets to do anything.
 */
export function* slicesOfFeed(text: string): Generator<string> {
  const isJson = text.trimStart().startsWith('{')
  const items = text.length <= sliceLength || isJson ? [] : elementsOf(text, 'item|entry')
  const [first, last] = [items[0], items.at(-1)]
  if (!first || !last) {
    if (text.length > maxItemLength && !isJson)
      throw new LanguageError(`The feed has more than ${maxItemLength} characters and no items.`)
    return yield text
  }
  const [head, tail] = [withoutSequence(text.slice(0, first.start)), text.slice(last.end)]
  if (head.length + tail.length > maxAround)
    throw new LanguageError(`The feed has more than ${maxAround} characters outside of its items.`)
  let { start } = first
  for (const [index, { end }] of items.entries()) {
    const next = items[index + 1]
    if (next && next.end - start <= sliceLength) continue
    if (end - start > maxItemLength)
      throw new LanguageError(`An item of the feed has more than ${maxItemLength} characters.`)
    yield head + text.slice(start, end) + tail
    start = end
  }
}

/** RSS 1.0 names every item before the first one, in `<items><rdf:Seq>`, from which nothing is read. */
function withoutSequence(head: string): string {
  let kept = ''
  let from = 0
  for (const { start, end } of elementsOf(head, 'Seq')) {
    kept += head.slice(from, start)
    from = end
  }
  return kept + head.slice(from)
}

/** Where the outermost of such elements begin and end. In sections of plain text and in comments their tags are none. */
function elementsOf(text: string, names: string): { start: number; end: number }[] {
  const tags = new RegExp(`<!\\[CDATA\\[|<!--|<(/?)(?:[\\w-]+:)?(?:${names})(?=[\\s/>])`, 'gi')
  const items: { start: number; end: number }[] = []
  let depth = 0
  let start = 0
  for (let found = tags.exec(text); found; found = tags.exec(text)) {
    const isTag = found[1] !== undefined
    const close = isTag ? '>' : found[0] === '<!--' ? '-->' : ']]>'
    const at = text.indexOf(close, tags.lastIndex)
    if (at < 0) break
    const end = at + close.length
    tags.lastIndex = end
    if (!isTag) continue
    if (found[1] === '') {
      if (depth === 0) start = found.index
      depth += 1
    }
    if (found[1] === '/' || text[at - 1] === '/') depth -= 1
    if (depth === 0) items.push({ start, end })
    if (depth < 0) break
  }
  return items
}
