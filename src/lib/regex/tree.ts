/** What both syntaxes are parsed into. It says whether a text matches; captures and greed are lost, for nothing asks. */
export type PatternNode =
  | { kind: 'char'; test: CharTest }
  | { kind: 'assert'; test: PositionTest }
  | { kind: 'sequence'; parts: PatternNode[] }
  | { kind: 'either'; options: PatternNode[] }
  | { kind: 'repeat'; part: PatternNode; min: number; max: number }

export type CharTest = (codePoint: number) => boolean
/** The code points on both sides of a position; -1 where the text begins or ends. */
export type PositionTest = (before: number, after: number) => boolean

export const isDigit: CharTest = (code) => code >= 0x30 && code <= 0x39
export const isWord: CharTest = (code) =>
  isDigit(code) || (code >= 0x41 && code <= 0x5a) || (code >= 0x61 && code <= 0x7a) || code === 0x5f

export const atStart: PositionTest = (before) => before === -1
export const atEnd: PositionTest = (_, after) => after === -1
export const atBoundary: PositionTest = (before, after) => isWord(before) !== isWord(after)
export const offBoundary: PositionTest = (before, after) => isWord(before) === isWord(after)

/** For tests that take long: keeps the answers to the first thousand characters that it meets. */
export function remembering(test: CharTest): CharTest {
  const known = new Map<number, boolean>()
  return (codePoint) => {
    let answer = known.get(codePoint)
    if (answer === undefined) {
      answer = test(codePoint)
      if (known.size < 1_000) known.set(codePoint, answer)
    }
    return answer
  }
}
