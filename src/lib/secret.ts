const hidden = '***'

/** A value that must not leak: it prints as `***` in strings, JSON and inspectors; `reveal()` is the one way out. */
export class Secret {
  readonly #value: string
  constructor(value: string) {
    this.#value = value
  }
  reveal(): string {
    return this.#value
  }
  toString(): string {
    return hidden
  }
  toJSON(): string {
    return hidden
  }
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return hidden
  }
}
