/** A map that forgets its oldest entry when it is full. */
export class BoundedCache<V> {
  readonly #entries = new Map<string, V>()
  readonly #limit: number

  constructor(limit: number) {
    this.#limit = limit
  }

  get size(): number {
    return this.#entries.size
  }

  getOrCompute(key: string, compute: () => V): V {
    const known = this.#entries.get(key)
    if (known !== undefined) return known
    const value = compute()
    if (this.#entries.size >= this.#limit) {
      const oldest = this.#entries.keys().next()
      if (!oldest.done) this.#entries.delete(oldest.value)
    }
    this.#entries.set(key, value)
    return value
  }
}
