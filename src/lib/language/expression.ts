import type { Json } from '../json.ts'
import { Budget } from './budget.ts'
import { compileSource, type Program } from './compile.ts'
import { LruCache } from '../lru-cache.ts'
import { LanguageError, type Reference, type Scope } from './scope.ts'
import { toJson } from './values.ts'

export type { Reference } from './scope.ts'

const programs = new LruCache<Program>(500)

const programOf = (source: string): Program => programs.getOrMake(source, () => compileSource(source))

/** The value of a CEL expression over a scope: JSON, deterministic, within a counted budget of work and size. */
export function evaluateExpression(source: string, scope: Scope): Json {
  const { run, faults } = programOf(source)
  if (faults[0] !== undefined) throw new LanguageError(faults[0])
  const budget = new Budget()
  try {
    return toJson(run({ scope, locals: [], budget }), budget)
  } catch (error) {
    if (error instanceof RangeError) throw new LanguageError('The expression is nested too deeply.')
    throw error
  }
}

/** Every fault that can be seen without a scope, and the scope names that the expression uses. */
export function checkExpression(source: string): { faults: string[]; references: Reference[] } {
  const { faults, references } = programOf(source)
  return { faults: [...faults], references: references.map(({ root, path }) => ({ root, path: [...path] })) }
}
