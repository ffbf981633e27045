import { LanguageError } from './scope.ts'

/** About 30 ms of work. Counted, not timed, so the same input always has the same outcome on every machine. */
const maxSteps = 1_000_000
/** Characters and list elements that one evaluation may build, intermediate values included. */
const maxAllocation = 8_000_000
/** Characters of JSON text that a result may have. */
export const maxResultSize = 1_000_000
/** Nesting of a result. */
export const maxResultDepth = 500

/** The work was too much. It is never absorbed by `||`, `&&` or a default. */
export class BudgetError extends LanguageError {}

/** What one evaluation may still do. */
export class Budget {
  #steps = 0
  #allocation = 0

  use(steps: number): void {
    this.#steps += steps
    if (this.#steps > maxSteps) {
      throw new BudgetError(`The expression does too much work: more than ${maxSteps} steps.`)
    }
  }

  allocate(units: number): void {
    this.#allocation += units
    if (this.#allocation > maxAllocation) {
      throw new BudgetError(`The expression builds too much data: more than ${maxAllocation} characters or elements.`)
    }
  }
}
