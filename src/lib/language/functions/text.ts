import { LanguageError } from '../scope.ts'
import { compilePattern, matchesPattern } from '../pattern.ts'
import { placeOf, splitBy } from '../search.ts'
import { type FunctionTable, takes, textArg, wholeArg } from './declare.ts'
import type { Budget } from '../budget.ts'

/** Searches go over the whole text. */
function searched(text: string, budget: Budget): string {
  budget.use(text.length >> 3)
  return text
}

const made = (text: string, budget: Budget): string => {
  budget.allocate(text.length)
  return text
}

/** The length of every replacement is known before it is built, so a huge one never is. */
function replaced(text: string, from: string, to: string, budget: Budget): string {
  if (from === '') throw new LanguageError('replace() cannot replace the empty string.')
  const parts = splitBy(searched(text, budget), from)
  budget.allocate(text.length + (parts.length - 1) * Math.max(0, to.length - from.length) + parts.length)
  return parts.join(to)
}

export const textFunctions: FunctionTable = {
  contains: takes(
    2,
    2,
    ([text, part], budget) => placeOf(searched(textArg('contains', text), budget), textArg('contains', part)) >= 0,
  ),
  startsWith: takes(2, 2, ([text, part]) => textArg('startsWith', text).startsWith(textArg('startsWith', part))),
  endsWith: takes(2, 2, ([text, part]) => textArg('endsWith', text).endsWith(textArg('endsWith', part))),
  indexOf: takes(2, 2, ([text, part], budget) =>
    placeOf(searched(textArg('indexOf', text), budget), textArg('indexOf', part)),
  ),
  substring: takes(2, 3, ([text, from, to]) => {
    const whole = textArg('substring', text)
    return whole.substring(wholeArg('substring', from), to === undefined ? whole.length : wholeArg('substring', to))
  }),
  matches: {
    min: 2,
    max: 2,
    check: ([, pattern]) => {
      try {
        if (typeof pattern === 'string') compilePattern(pattern)
      } catch (error) {
        if (error instanceof LanguageError) return error.message
        throw error
      }
      return undefined
    },
    call: ([text, pattern], budget) => matchesPattern(textArg('matches', text), textArg('matches', pattern), budget),
  },
  lower: takes(1, 1, ([text], budget) => made(textArg('lower', text).toLowerCase(), budget)),
  upper: takes(1, 1, ([text], budget) => made(textArg('upper', text).toUpperCase(), budget)),
  trim: takes(1, 1, ([text]) => textArg('trim', text).trim()),
  split: takes(2, 2, ([text, separator], budget) => {
    const [whole, by] = [searched(textArg('split', text), budget), textArg('split', separator)]
    const parts = by === '' ? whole.split(by) : splitBy(whole, by)
    budget.allocate(parts.length)
    return parts
  }),
  replace: takes(3, 3, ([text, from, to], budget) =>
    replaced(textArg('replace', text), textArg('replace', from), textArg('replace', to), budget),
  ),
}
