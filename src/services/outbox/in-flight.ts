/**
 * Attempts that are under way in this process, counted by whom they are for. A pass starts some and does not wait for the
 * slow ones, so whoever answers late holds up no pass but its own share.
 */
export class InFlight {
  readonly #held = new Map<string, number>()
  #total = 0

  get total(): number {
    return this.#total
  }

  /** How many are under way for each, as the statement that claims takes it. */
  held(): Record<string, number> {
    return Object.fromEntries(this.#held)
  }

  /** Starts an attempt on behalf of these ids. */
  async run(ids: readonly string[], attempt: () => Promise<void>): Promise<void> {
    this.#count(ids, 1)
    try {
      await attempt()
    } finally {
      this.#count(ids, -1)
    }
  }

  #count(ids: readonly string[], by: 1 | -1): void {
    this.#total += by
    for (const id of ids) {
      const count = (this.#held.get(id) ?? 0) + by
      if (count === 0) this.#held.delete(id)
      else this.#held.set(id, count)
    }
  }
}

/** What is under way on each database. */
export class InFlightByDatabase {
  readonly #all = new WeakMap<object, InFlight>()

  of(db: object): InFlight {
    let one = this.#all.get(db)
    if (!one) this.#all.set(db, (one = new InFlight()))
    return one
  }
}

const patienceMs = 500

/** Waits for work as long as a pass may take. What is slower goes on by itself: `defer` keeps the process for it. */
export async function awaitQuick(work: Promise<unknown>, defer: (work: Promise<unknown>) => void): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(() => resolve('late'), patienceMs)
  })
  try {
    if ((await Promise.race([work, late])) === 'late') defer(work)
  } finally {
    clearTimeout(timer)
  }
}
