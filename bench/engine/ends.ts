/** A run may be ended by the other process, of which this one is not told. */
const lookAfterMs = 5

/**
 * What the lanes of one process wait at: each for the end of the run that it has started. One statement looks for all of
 * them, when something has ended here and otherwise now and then.
 */
export class Ends {
  readonly #endedOf: (ids: string[]) => Promise<string[]>
  readonly #awaited = new Map<string, () => void>()
  #isLooking = false
  #again = false
  #timer: ReturnType<typeof setTimeout> | undefined

  /** `endedOf` answers which of these runs have ended. */
  constructor(endedOf: (ids: string[]) => Promise<string[]>) {
    this.#endedOf = endedOf
  }

  /** Call it before the run is there, so that its end cannot be missed. */
  of(id: string): Promise<void> {
    return new Promise((resolve) => {
      this.#awaited.set(id, resolve)
      this.#lookLater()
    })
  }

  /** For whoever knows what has ended. */
  tell(ids: string[]): void {
    for (const id of ids) {
      this.#awaited.get(id)?.()
      this.#awaited.delete(id)
    }
    this.#lookLater()
  }

  /** For whoever knows that something has. */
  look(): void {
    this.#again = true
    if (!this.#isLooking) void this.#lookUp()
  }

  #lookLater(): void {
    clearTimeout(this.#timer)
    if (this.#awaited.size > 0 && !this.#isLooking) this.#timer = setTimeout(() => this.look(), lookAfterMs)
  }

  async #lookUp(): Promise<void> {
    this.#isLooking = true
    while (this.#again && this.#awaited.size > 0) {
      this.#again = false
      this.tell(await this.#endedOf([...this.#awaited.keys()]))
    }
    this.#isLooking = false
    this.#lookLater()
  }
}
