import { PatternParser } from './parser.ts'
import { compile, type LinearRegex } from './program.ts'
import {
  atBoundary,
  atEnd,
  atStart,
  type CharTest,
  isDigit,
  isWord,
  offBoundary,
  type PatternNode,
  type PositionTest,
  remembering,
} from './tree.ts'

const maxSource = 500
const maxInstructions = 2_000
const maxGroupDepth = 30
const maxRepeat = 200
/** Each character is held against each member, so that a step stays about as dear as another. */
const maxClassMembers = 64

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

const isSpace: CharTest = (code) => code === 0x20 || (code >= 0x09 && code <= 0x0d && code !== 0x0b)
const classes = new Map<string, CharTest>([
  ['d', isDigit],
  ['D', not(isDigit)],
  ['w', isWord],
  ['W', not(isWord)],
  ['s', isSpace],
  ['S', not(isSpace)],
])
const atLineStart: PositionTest = (before) => before === -1 || before === 0x0a
const atLineEnd: PositionTest = (_, after) => after === -1 || after === 0x0a
const controls = new Map([
  ['n', 0x0a],
  ['r', 0x0d],
  ['t', 0x09],
  ['f', 0x0c],
  ['v', 0x0b],
  ['a', 0x07],
])

/**
 * The syntax that CEL asks for: RE2's, as far as it decides whether a text matches. Throws SyntaxError for what is no
 * pattern, or is not supported (look-around, back references, classes of Unicode), or is too large; its message
 * continues "the pattern …".
 */
export function re2Regex(source: string): LinearRegex {
  if (source.length > maxSource) throw new SyntaxError(`is longer than ${maxSource} characters`)
  return compile(new Re2Parser(source, maxRepeat).parse(), maxInstructions)
}

class Re2Parser extends PatternParser {
  #depth = 0
  #ignoreCase = false
  #dotAll = false
  #multiline = false

  parse(): PatternNode {
    const [flagText, flags = ''] = /^\(\?([ims]+)\)/.exec(this.source) ?? ['']
    this.at = flagText.length
    this.#ignoreCase = flags.includes('i')
    this.#dotAll = flags.includes('s')
    this.#multiline = flags.includes('m')
    const node = this.either()
    if (this.at < this.source.length) throw new SyntaxError('has a ) without its (')
    return node
  }

  #next(): string {
    const code = this.source.codePointAt(this.at)
    if (code === undefined) throw new SyntaxError('has an unfinished end')
    const char = String.fromCodePoint(code)
    this.at += char.length
    return char
  }

  protected atom(): PatternNode {
    const char = this.#next()
    if (char === '(') return this.#group()
    if (char === '[') return this.#char(this.#set())
    if (char === '.') return this.#char(this.#dotAll ? () => true : (code) => code !== 0x0a)
    if (char === '^') return { kind: 'assert', test: this.#multiline ? atLineStart : atStart }
    if (char === '$') return { kind: 'assert', test: this.#multiline ? atLineEnd : atEnd }
    if (char === '\\') return this.#escape()
    return this.#char(this.#literal(char.codePointAt(0) ?? 0))
  }

  #group(): PatternNode {
    if (
      this.peek() === '?' &&
      !this.take('?:') &&
      !/^\?P?<[A-Za-z_]\w*>/.test(this.source.slice(this.at, this.at + 80))
    ) {
      throw new SyntaxError('has a group that is not supported (look-around, or flags that are not at the start)')
    }
    if (this.peek() === '?') this.at = this.source.indexOf('>', this.at) + 1
    this.#depth += 1
    if (this.#depth > maxGroupDepth) throw new SyntaxError('has too many groups inside each other')
    const node = this.either()
    if (!this.take(')')) throw new SyntaxError('has a ( without its )')
    this.#depth -= 1
    return node
  }

  #escape(): PatternNode {
    const char = this.#next()
    if (char === 'b') return { kind: 'assert', test: atBoundary }
    if (char === 'B') return { kind: 'assert', test: offBoundary }
    if (char === 'A') return { kind: 'assert', test: atStart }
    if (char === 'z') return { kind: 'assert', test: atEnd }
    return this.#char(this.#escaped(char))
  }

  #escaped(char: string): CharTest {
    return classes.get(char) ?? this.#literal(this.#code(char))
  }

  /** The character that an escape stands for. */
  #code(char: string): number {
    const control = controls.get(char)
    if (control !== undefined) return control
    if (char === 'x' || char === 'u') {
      const [text, digits] = /^(?:\{([0-9A-Fa-f]{1,6})\})/.exec(this.source.slice(this.at, this.at + 9)) ?? []
      const plain = this.source.slice(this.at, this.at + (char === 'x' ? 2 : 4))
      const hex =
        digits ?? (/^[0-9A-Fa-f]+$/.test(plain) && plain.length === (char === 'x' ? 2 : 4) ? plain : undefined)
      if (hex === undefined) throw new SyntaxError(`has an unfinished \\${char}`)
      this.at += text?.length ?? plain.length
      return Number.parseInt(hex, 16)
    }
    if (/[A-Za-z0-9]/.test(char)) throw new SyntaxError(`has \\${char}, which is not supported`)
    return char.codePointAt(0) ?? 0
  }

  #set(): CharTest {
    const negated = this.take('^')
    const tests: CharTest[] = []
    for (let first = true; first || this.peek() !== ']'; first = false) {
      if (tests.length >= maxClassMembers) throw new SyntaxError(`has a class of more than ${maxClassMembers} members`)
      const char = this.#next()
      if (char === '[' && this.peek() === ':') throw new SyntaxError('has a [:class:], which is not supported')
      const escape = char === '\\' ? this.#next() : undefined
      const known = classes.get(escape ?? '')
      if (known) {
        tests.push(known)
        continue
      }
      const from = escape === undefined ? (char.codePointAt(0) ?? 0) : this.#code(escape)
      if (this.peek() !== '-' || this.source[this.at + 1] === ']') {
        tests.push(within(from, from))
        continue
      }
      this.at += 1
      const end = this.#next()
      const to = end === '\\' ? this.#code(this.#next()) : (end.codePointAt(0) ?? 0)
      if (to < from) throw new SyntaxError('has a range that ends before it begins')
      tests.push(within(from, to))
    }
    this.at += 1
    const inside = this.#folded(tests.length > 2 ? remembering(any(tests)) : any(tests))
    return negated ? not(inside) : inside
  }

  #char(test: CharTest): PatternNode {
    return { kind: 'char', test }
  }

  #literal(code: number): CharTest {
    return this.#folded((other) => other === code)
  }

  #folded(test: CharTest): CharTest {
    if (!this.#ignoreCase) return test
    return remembering((code) => {
      const char = String.fromCodePoint(code)
      const [lower, upper] = [char.toLowerCase().codePointAt(0), char.toUpperCase().codePointAt(0)]
      return test(code) || test(lower ?? code) || test(upper ?? code)
    })
  }
}
