import { PatternParser } from './parser.ts'
import { compile, type LinearRegex } from './program.ts'
import { atBoundary, atEnd, atStart, offBoundary, type PatternNode, remembering } from './tree.ts'

const maxSource = 1_000
const maxInstructions = 4_000

const escape =
  /\\(?:u\{[^}]*\}|u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u.{4}|x..|c.|[pP]\{[^}]*\}|.)/uy
const opening = /\((?:\?:|\?<[^=!>][^>]*>|(?!\?))/y

/**
 * The syntax that JSON Schema asks for: ECMAScript's with the `u` flag. Throws SyntaxError for what is no pattern, or
 * needs backtracking (look-around, back references), or is too large; its message continues "the pattern …".
 */
export function ecmascriptRegex(source: string): LinearRegex {
  if (source.length > maxSource) throw new SyntaxError(`is longer than ${maxSource} characters`)
  try {
    // Settles the syntax, so that the parser below meets only valid patterns.
    new RegExp(source, 'u')
  } catch {
    throw new SyntaxError('is not a regular expression')
  }
  return compile(new EcmaScriptParser(source, Infinity).parse(), maxInstructions)
}

class EcmaScriptParser extends PatternParser {
  parse(): PatternNode {
    return this.either()
  }

  protected atom(): PatternNode {
    if (this.take('^')) return { kind: 'assert', test: atStart }
    if (this.take('$')) return { kind: 'assert', test: atEnd }
    if (this.take('\\b')) return { kind: 'assert', test: atBoundary }
    if (this.take('\\B')) return { kind: 'assert', test: offBoundary }
    const char = this.peek()
    if (char === '(') return this.#group()
    if (char === '[') return this.#native(this.#endOfClass())
    if (char === '.') return this.#native(this.at + 1)
    if (char === '\\') return this.#native(this.#endOfEscape())
    const codePoint = this.source.codePointAt(this.at) ?? 0
    this.at += codePoint > 0xffff ? 2 : 1
    return { kind: 'char', test: (other) => other === codePoint }
  }

  #group(): PatternNode {
    opening.lastIndex = this.at
    const found = opening.exec(this.source)
    if (!found) throw new SyntaxError('uses look-around or flags within a group, which are not supported')
    this.at += found[0].length
    const node = this.either()
    this.take(')')
    return node
  }

  #endOfEscape(): number {
    if (/[k1-9]/.test(this.source[this.at + 1] ?? '')) {
      throw new SyntaxError('uses a back reference, which is not supported')
    }
    escape.lastIndex = this.at
    return this.at + (escape.exec(this.source)?.[0].length ?? 2)
  }

  #endOfClass(): number {
    let end = this.at + 1
    while (this.source[end] !== ']') end += this.source[end] === '\\' ? 2 : 1
    return end + 1
  }

  /** An atom that stands for one character is left to the platform, one character at a time: that cannot backtrack. */
  #native(end: number): PatternNode {
    const regex = new RegExp(`^${this.source.slice(this.at, end)}$`, 'u')
    this.at = end
    return { kind: 'char', test: remembering((codePoint) => regex.test(String.fromCodePoint(codePoint))) }
  }
}
