import { LanguageError } from './scope.ts'

/** The syntax of RE2 that decides whether a text matches; what only captures or looks around is refused. */
export type PatternNode =
  | { kind: 'char'; test: CharTest }
  | { kind: 'assert'; test: (before: number, after: number) => boolean }
  | { kind: 'sequence'; parts: PatternNode[] }
  | { kind: 'either'; options: PatternNode[] }
  | { kind: 'repeat'; part: PatternNode; min: number; max: number }

type CharTest = (code: number) => boolean

const maxPatternLength = 500
const maxGroupDepth = 30
const maxRepeat = 200

const within =
  (from: number, to: number): CharTest =>
  (code) =>
    code >= from && code <= to
const any =
  (tests: CharTest[]): CharTest =>
  (code) =>
    tests.some((test) => test(code))
const not =
  (test: CharTest): CharTest =>
  (code) =>
    !test(code)

const digit = within(0x30, 0x39)
const word = any([digit, within(0x41, 0x5a), within(0x61, 0x7a), within(0x5f, 0x5f)])
const space: CharTest = (code) => code === 0x20 || (code >= 0x09 && code <= 0x0d && code !== 0x0b)
const classes: Record<string, CharTest> = { d: digit, D: not(digit), w: word, W: not(word), s: space, S: not(space) }
const controls: Record<string, number> = { n: 0x0a, r: 0x0d, t: 0x09, f: 0x0c, v: 0x0b, a: 0x07 }

const atBoundary = (before: number, after: number) => word(before) !== word(after)

export function parsePattern(pattern: string): PatternNode {
  if (pattern.length > maxPatternLength) {
    throw new LanguageError(`A pattern may have at most ${maxPatternLength} characters.`)
  }
  return new PatternParser(pattern).parse()
}

class PatternParser {
  readonly #source: string
  #at = 0
  #depth = 0
  #ignoreCase = false
  #dotAll = false
  #multiline = false

  constructor(source: string) {
    this.#source = source
  }

  parse(): PatternNode {
    const [flagText, flags = ''] = /^\(\?([ims]+)\)/.exec(this.#source) ?? ['']
    this.#at = flagText.length
    this.#ignoreCase = flags.includes('i')
    this.#dotAll = flags.includes('s')
    this.#multiline = flags.includes('m')
    const node = this.#either()
    if (this.#at < this.#source.length) throw this.#fault('a ) without its (')
    return node
  }

  #fault(what: string): LanguageError {
    return new LanguageError(`The pattern '${this.#source.slice(0, 60)}' has ${what}.`)
  }

  #peek(): string {
    return this.#source[this.#at] ?? ''
  }

  #next(): string {
    const code = this.#source.codePointAt(this.#at)
    if (code === undefined) throw this.#fault('an unfinished end')
    const char = String.fromCodePoint(code)
    this.#at += char.length
    return char
  }

  #take(text: string): boolean {
    if (!this.#source.startsWith(text, this.#at)) return false
    this.#at += text.length
    return true
  }

  #either(): PatternNode {
    const options = [this.#sequence()]
    while (this.#take('|')) options.push(this.#sequence())
    return options.length === 1 && options[0] ? options[0] : { kind: 'either', options }
  }

  #sequence(): PatternNode {
    const parts: PatternNode[] = []
    while (this.#at < this.#source.length && this.#peek() !== '|' && this.#peek() !== ')') parts.push(this.#repeated())
    return { kind: 'sequence', parts }
  }

  #repeated(): PatternNode {
    let part = this.#atom()
    for (;;) {
      const bounds = this.#quantifier()
      if (!bounds) return part
      if (part.kind === 'repeat') throw this.#fault('one quantifier upon another')
      // Greedy or not decides what is captured, never whether the text matches.
      this.#take('?')
      part = { kind: 'repeat', part, ...bounds }
    }
  }

  #quantifier(): { min: number; max: number } | undefined {
    if (this.#take('*')) return { min: 0, max: Infinity }
    if (this.#take('+')) return { min: 1, max: Infinity }
    if (this.#take('?')) return { min: 0, max: 1 }
    const [text, low = '0', comma, high] =
      /^\{(\d{1,4})(,(\d{1,4})?)?\}/.exec(this.#source.slice(this.#at, this.#at + 12)) ?? []
    if (text === undefined) return undefined
    this.#at += text.length
    const min = Number(low)
    const max = comma === undefined ? min : high === undefined ? Infinity : Number(high)
    if (min > max || min > maxRepeat || (max !== Infinity && max > maxRepeat)) {
      throw this.#fault(`a repetition that is not between 0 and ${maxRepeat}`)
    }
    return { min, max }
  }

  #atom(): PatternNode {
    const char = this.#next()
    if (char === '(') return this.#group()
    if (char === '[') return this.#char(this.#set())
    if (char === '.') return this.#char(this.#dotAll ? () => true : (code) => code !== 0x0a)
    if (char === '^') return { kind: 'assert', test: (before) => before === -1 || (this.#multiline && before === 0x0a) }
    if (char === '$') return { kind: 'assert', test: (_, after) => after === -1 || (this.#multiline && after === 0x0a) }
    if (char === '*' || char === '+' || char === '?') throw this.#fault(`a ${char} with nothing before it`)
    if (char === '\\') return this.#escape()
    return this.#char(this.#literal(char.codePointAt(0) ?? 0))
  }

  #group(): PatternNode {
    if (
      this.#peek() === '?' &&
      !this.#take('?:') &&
      !/^\?P?<[A-Za-z_]\w*>/.test(this.#source.slice(this.#at, this.#at + 80))
    ) {
      throw this.#fault('a group that is not supported (look-around, or flags that are not at the start)')
    }
    if (this.#peek() === '?') this.#at = this.#source.indexOf('>', this.#at) + 1
    this.#depth += 1
    if (this.#depth > maxGroupDepth) throw this.#fault('too many groups inside each other')
    const node = this.#either()
    if (!this.#take(')')) throw this.#fault('a ( without its )')
    this.#depth -= 1
    // Wrapped, so that a quantifier on the group is none upon the quantifier inside.
    return { kind: 'sequence', parts: [node] }
  }

  #escape(): PatternNode {
    const char = this.#next()
    if (char === 'b') return { kind: 'assert', test: atBoundary }
    if (char === 'B') return { kind: 'assert', test: (before, after) => !atBoundary(before, after) }
    if (char === 'A') return { kind: 'assert', test: (before) => before === -1 }
    if (char === 'z') return { kind: 'assert', test: (_, after) => after === -1 }
    return this.#char(this.#escaped(char))
  }

  #escaped(char: string): CharTest {
    const known = Object.hasOwn(classes, char) ? classes[char] : undefined
    return known ?? this.#literal(this.#code(char))
  }

  /** The character that an escape stands for. */
  #code(char: string): number {
    if (Object.hasOwn(controls, char)) return controls[char] ?? 0
    if (char === 'x' || char === 'u') {
      const [text, digits] = /^(?:\{([0-9A-Fa-f]{1,6})\})/.exec(this.#source.slice(this.#at, this.#at + 9)) ?? []
      const plain = this.#source.slice(this.#at, this.#at + (char === 'x' ? 2 : 4))
      const hex =
        digits ?? (/^[0-9A-Fa-f]+$/.test(plain) && plain.length === (char === 'x' ? 2 : 4) ? plain : undefined)
      if (hex === undefined) throw this.#fault(`an unfinished \\${char}`)
      this.#at += text?.length ?? plain.length
      return Number.parseInt(hex, 16)
    }
    if (/[A-Za-z0-9]/.test(char)) throw this.#fault(`\\${char}, which is not supported`)
    return char.codePointAt(0) ?? 0
  }

  #set(): CharTest {
    const negated = this.#take('^')
    const tests: CharTest[] = []
    for (let first = true; first || this.#peek() !== ']'; first = false) {
      const char = this.#next()
      if (char === '[' && this.#peek() === ':') throw this.#fault('a [:class:], which is not supported')
      const escape = char === '\\' ? this.#next() : undefined
      if (escape !== undefined && Object.hasOwn(classes, escape)) {
        tests.push(this.#escaped(escape))
        continue
      }
      const from = escape === undefined ? (char.codePointAt(0) ?? 0) : this.#code(escape)
      if (this.#peek() !== '-' || this.#source[this.#at + 1] === ']') {
        tests.push(this.#literal(from))
        continue
      }
      this.#at += 1
      const end = this.#next()
      const to = end === '\\' ? this.#code(this.#next()) : (end.codePointAt(0) ?? 0)
      if (to < from) throw this.#fault('a range that ends before it begins')
      tests.push(this.#folded(within(from, to)))
    }
    this.#at += 1
    return negated ? not(any(tests)) : any(tests)
  }

  #char(test: CharTest): PatternNode {
    return { kind: 'char', test }
  }

  #literal(code: number): CharTest {
    return this.#folded((other) => other === code)
  }

  #folded(test: CharTest): CharTest {
    if (!this.#ignoreCase) return test
    return (code) => {
      const char = String.fromCodePoint(code)
      const [lower, upper] = [char.toLowerCase().codePointAt(0), char.toUpperCase().codePointAt(0)]
      return test(code) || test(lower ?? code) || test(upper ?? code)
    }
  }
}
