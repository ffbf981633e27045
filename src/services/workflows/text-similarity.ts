/** Words that say nothing of what a text is about. */
const stopWords = new Set(
  (
    'a about all also an and any are as at be been but by can do does each every for from get give has have how i if in into is it ' +
    'its make me more most my no not of on one or our out so some such than that the their them then there these they this to ' +
    'up use used using was we what when where which who will with would you your answer task work step result short brief'
  ).split(' '),
)

/** Words that mean the same to whoever looks for an agent, by their stems. */
const synonyms = new Map(
  [
    ['summar', 'digest', 'condens', 'recap', 'tldr'],
    ['translat', 'locali', 'languag'],
    ['writ', 'draft', 'compos', 'author', 'copywrit'],
    ['research', 'investigat', 'sourc', 'find'],
    ['calculat', 'comput', 'math', 'arithmet', 'figur'],
    ['code', 'program', 'softwar', 'engineer', 'develop'],
    ['check', 'review', 'verif', 'proofread', 'audit'],
    ['classif', 'categor', 'label', 'triag', 'sort'],
    ['sell', 'sale', 'market'],
    ['support', 'help', 'custom', 'ticket'],
  ].flatMap((group) => group.map((stem) => [stem, group[0]!] as const)),
)

/**
 * How well each of the candidates fits the text, between 0 and 1: the cosine of their words, weighted by how few of the
 * candidates use them. Plain counting, so the same texts always give the same figures.
 */
export function similarities(text: string, candidates: readonly string[]): number[] {
  const vectors = candidates.map(countsOf)
  const query = countsOf(text)
  const weight = (term: string) => {
    const users = vectors.filter((vector) => vector.has(term)).length
    return Math.log(1 + (vectors.length + 1) / (users + 1))
  }
  return vectors.map((vector) => cosine(query, vector, weight))
}

function cosine(a: Counts, b: Counts, weight: (term: string) => number): number {
  let shared = 0
  for (const [term, count] of a)
    shared += (b.get(term) === undefined ? 0 : Math.sqrt(count * b.get(term)!)) * weight(term) ** 2
  if (shared === 0) return 0
  const value = shared / (lengthOf(a, weight) * lengthOf(b, weight))
  return Math.round(Math.min(1, value) * 10_000) / 10_000
}

type Counts = Map<string, number>

const lengthOf = (vector: Counts, weight: (term: string) => number): number =>
  Math.sqrt([...vector].reduce((sum, [term, count]) => sum + count * weight(term) ** 2, 0))

function countsOf(text: string): Counts {
  const counts: Counts = new Map()
  for (const word of text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []) {
    if (word.length < 2 || stopWords.has(word)) continue
    const term = termOf(word)
    counts.set(term, (counts.get(term) ?? 0) + 1)
  }
  return counts
}

/** A stem that brings the forms of an English word together; words of other languages lose at most an ending. */
function termOf(word: string): string {
  const stem = word
    .replace(/(?:isations?|izations?|ions?|ising|izing|ised|ized|ises|izes|ise|ize)$/, '')
    .replace(/(?:ings?|ers?|ors?|ed|ies|es|s|e|y)$/, '')
  const kept = stem.length < 3 ? word : stem
  for (const [prefix, group] of synonyms) if (kept.startsWith(prefix)) return group
  return kept
}
