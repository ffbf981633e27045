import type { Json } from '../json.ts'

/** The names that an expression or a template can see: input, steps, trigger, run, now, previous, a loop variable. */
export type Scope = { [name: string]: Json }

/** A static use of a scope name: `steps.fetch.output[0]` is root `steps`, path `['fetch', 'output', '0']`. */
export interface Reference {
  root: string
  path: string[]
}

/** A fault of an expression, a template or a parsed body. Its message is safe to show. */
export class LanguageError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'LanguageError'
  }
}
