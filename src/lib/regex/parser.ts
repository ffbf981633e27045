import type { PatternNode } from './tree.ts'

const quantifier = /(?:[*+?]|\{(\d+)(,?)(\d*)\})\??/y

/** What the two syntaxes have in common: alternatives, sequences and quantifiers. Each adds its atoms. */
export abstract class PatternParser {
  protected readonly source: string
  protected at = 0
  readonly #maxRepeat: number

  constructor(source: string, maxRepeat: number) {
    this.source = source
    this.#maxRepeat = maxRepeat
  }

  protected abstract atom(): PatternNode

  /** Stands before a character that no alternative can begin with: the end, or a `)`. */
  protected either(): PatternNode {
    const options = [this.#sequence()]
    while (this.take('|')) options.push(this.#sequence())
    return options.length === 1 && options[0] ? options[0] : { kind: 'either', options }
  }

  protected peek(): string {
    return this.source[this.at] ?? ''
  }

  protected take(text: string): boolean {
    if (!this.source.startsWith(text, this.at)) return false
    this.at += text.length
    return true
  }

  #sequence(): PatternNode {
    const parts: PatternNode[] = []
    while (this.at < this.source.length && this.peek() !== '|' && this.peek() !== ')') parts.push(this.#repeated())
    return { kind: 'sequence', parts }
  }

  #repeated(): PatternNode {
    if (this.#quantifier()) throw new SyntaxError('has a quantifier with nothing before it')
    const part = this.atom()
    const bounds = this.#quantifier()
    if (!bounds) return part
    if (this.#quantifier()) throw new SyntaxError('has one quantifier upon another')
    return { kind: 'repeat', part, ...bounds }
  }

  /** With the `?` of a lazy one, which decides what is captured and never whether the text matches. */
  #quantifier(): { min: number; max: number } | null {
    quantifier.lastIndex = this.at
    const [text, low, comma, high] = quantifier.exec(this.source) ?? []
    if (text === undefined) return null
    this.at += text.length
    if (text.startsWith('*')) return { min: 0, max: Infinity }
    if (text.startsWith('+')) return { min: 1, max: Infinity }
    if (text.startsWith('?')) return { min: 0, max: 1 }
    const min = Number(low)
    const max = comma === '' ? min : high === '' ? Infinity : Number(high)
    if (min > max || min > this.#maxRepeat || (max !== Infinity && max > this.#maxRepeat)) {
      throw new SyntaxError(`has a repetition that is not between 0 and ${this.#maxRepeat}`)
    }
    return { min, max }
  }
}
