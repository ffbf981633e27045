import type { RecipeDefinition, Step } from '../recipes/definition.ts'

/** Steps that a run has under way at a time where its recipe does not say. A foreach that asks for more gets it. */
export const defaultParallel = 10

/**
 * How many attempts with an effect a run may have under way, wherever in the recipe they stand. Who holds a place is at
 * work on an effect and waits for nobody, so places come free by themselves and nested lists cannot lock each other out.
 */
export class Places {
  #free: number
  /** In the order of asking. */
  readonly #waiting = new Set<() => void>()

  constructor(count: number) {
    this.#free = count
  }

  /** Takes a place if one is free. */
  take(): boolean {
    if (this.#free === 0) return false
    this.#free--
    return true
  }

  /** Resolves with a place taken. Rejects with the signal's reason when aborted. */
  wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        signal.removeEventListener('abort', onAbort)
        this.#waiting.delete(enter)
      }
      const enter = () => {
        leave()
        resolve()
      }
      const onAbort = () => {
        leave()
        reject(signal.reason)
      }
      if (signal.aborted) return onAbort()
      signal.addEventListener('abort', onAbort)
      this.#waiting.add(enter)
    })
  }

  give(): void {
    const [first] = this.#waiting
    if (first) first()
    else this.#free++
  }
}

export const parallelOf = (definition: RecipeDefinition): number =>
  definition.settings?.max_parallel ?? Math.max(defaultParallel, ...definition.steps.map(widest))

/** The most items that a step, or one inside it, wants in work at a time. */
function widest(step: Step): number {
  if (step.kind === 'foreach') return Math.max(step.concurrency ?? 0, ...step.steps.map(widest))
  if (step.kind !== 'branch') return 0
  const inner = [...step.cases.flatMap((each) => each.steps), ...(step.default ?? [])]
  return Math.max(0, ...inner.map(widest))
}
