const maxSentences = 3
const maxSummaryLength = 600

const stopWords = new Set(
  (
    'a an and are as at be been but by can could did do does for from had has have he her his how i if in into is it its ' +
    'may me more most my no not of on one or our out over she so some such than that the their them then there these ' +
    'they this to up was we were what when where which who will with would you your'
  ).split(' '),
)

/**
 * The sentences that say most of a text, in their order: those whose words are the most frequent ones of the whole.
 * Plain counting, so the same text always gives the same summary.
 */
export function summarize(text: string): string {
  const sentences = splitSentences(text)
  if (sentences.length <= maxSentences) return cut(sentences.join(' '))
  const counts = new Map<string, number>()
  for (const word of wordsOf(text)) counts.set(word, (counts.get(word) ?? 0) + 1)
  const scored = sentences.map((sentence, index) => {
    const words = wordsOf(sentence)
    const sum = words.reduce((total, word) => total + (counts.get(word) ?? 0), 0)
    // Divided by the root of the length, so that neither the longest nor the shortest sentence wins by its size.
    return { sentence, index, score: sum / Math.sqrt(Math.max(words.length, 4)) }
  })
  const best = scored.toSorted((a, b) => b.score - a.score || a.index - b.index).slice(0, maxSentences)
  return cut(
    best
      .toSorted((a, b) => a.index - b.index)
      .map(({ sentence }) => sentence)
      .join(' '),
  )
}

function splitSentences(text: string): string[] {
  return text
    .split(/(?<=[.!?])\s+|\n+/)
    .map((sentence) => sentence.replace(/\s+/g, ' ').trim())
    .filter((sentence) => sentence !== '')
}

const wordsOf = (text: string): string[] =>
  (text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []).filter((word) => word.length > 1 && !stopWords.has(word))

function cut(text: string): string {
  if (text.length <= maxSummaryLength) return text
  const end = text.lastIndexOf(' ', maxSummaryLength - 1)
  return `${text.slice(0, end > 0 ? end : maxSummaryLength - 1)}…`
}
