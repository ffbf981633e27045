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
 * How well each of the candidates fits each of the texts, between 0 and 1: the cosine of their words, weighted by how few of
 * the candidates use them. Plain counting, so the same texts always give the same figures. Words are counted once for all
 * texts: a plan has as many as it has steps.
 */
export const similarities = (texts: readonly string[], candidates: readonly string[]): number[][] =>
  texts.map(similarityTo(candidates))

/** As similarities, of one text after the other. */
export function similarityTo(candidates: readonly string[]): (text: string) => number[] {
  const vectors = candidates.map(countsOf)
  const users = new Map<string, number>()
  for (const vector of vectors) for (const term of vector.keys()) users.set(term, (users.get(term) ?? 0) + 1)
  const weight = (term: string) => Math.log(1 + (vectors.length + 1) / ((users.get(term) ?? 0) + 1))
  const weighted = vectors.map((counts) => ({ counts, length: lengthOf(counts, weight) }))
  return (text) => {
    const counts = countsOf(text)
    const query = { counts, length: lengthOf(counts, weight) }
    return weighted.map((vector) => cosine(query, vector, weight))
  }
}

interface Weighted {
  counts: Counts
  length: number
}

function cosine(a: Weighted, b: Weighted, weight: (term: string) => number): number {
  let shared = 0
  for (const [term, count] of a.counts) {
    const other = b.counts.get(term)
    if (other !== undefined) shared += Math.sqrt(count * other) * weight(term) ** 2
  }
  if (shared === 0) return 0
  const value = shared / (a.length * b.length)
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
