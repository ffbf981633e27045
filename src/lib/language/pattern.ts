import type { LinearRegex } from '../regex/program.ts'
import { re2Regex } from '../regex/re2.ts'
import type { Budget } from './budget.ts'
import { LruCache } from '../lru-cache.ts'
import { LanguageError } from './scope.ts'

const compiled = new LruCache<LinearRegex>(200)

/** Throws LanguageError. */
export function compilePattern(pattern: string): LinearRegex {
  return compiled.getOrMake(pattern, () => {
    try {
      return re2Regex(pattern)
    } catch (error) {
      if (error instanceof SyntaxError) {
        throw new LanguageError(`The pattern '${pattern.slice(0, 60)}' ${error.message}.`, { cause: error })
      }
      throw error
    }
  })
}

/** Whether the pattern occurs in the text. Compiling is counted each time, so that a count never depends on the cache. */
export function matchesPattern(text: string, pattern: string, budget: Pick<Budget, 'use'>): boolean {
  const regex = compilePattern(pattern)
  budget.use(regex.size)
  return regex.test(text, (steps) => budget.use(steps))
}
