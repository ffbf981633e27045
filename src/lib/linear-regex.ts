/**
 * Regular expressions that tenants write run here and not in the engine of the platform: that one backtracks, and one
 * pattern such as `^(a+)+$` with thirty letters would stop a process for minutes. This one walks all alternatives side
 * by side, so its time is the length of the text times the size of the pattern, whatever either says.
 */
export interface LinearRegex {
  /** Instructions: a test takes at most this many steps for each character. */
  size: number
  /** Whether the pattern occurs in the text, as `RegExp.test` with the `u` flag. Throws RangeError on texts too long for it. */
  test(text: string): boolean
}

const maxSource = 1_000
const maxInstructions = 4_000
// About half a second.
const maxSteps = 4_000_000

type Assertion = '^' | '$' | 'b' | 'B'
type Node =
  | { type: 'char'; test: (codePoint: number) => boolean }
  | { type: 'assert'; kind: Assertion }
  | { type: 'sequence'; parts: Node[] }
  | { type: 'choice'; parts: Node[] }
  | { type: 'repeat'; node: Node; min: number; max: number }
type Instruction =
  | { op: 'char'; test: (codePoint: number) => boolean }
  | { op: 'assert'; kind: Assertion }
  | { op: 'split'; to: number[] }
  | { op: 'match' }

/** Throws SyntaxError for what is no pattern, or needs backtracking (look-around, back references), or is too large. */
export function linearRegex(source: string): LinearRegex {
  if (source.length > maxSource) throw new SyntaxError(`is longer than ${maxSource} characters`)
  try {
    // Settles the syntax, so that the parser below meets only valid patterns.
    new RegExp(source, 'u')
  } catch {
    throw new SyntaxError('is not a regular expression')
  }
  const program = new Compiler().compile(new Parser(source).parse())
  return { size: program.length, test: (text) => run(program, text) }
}

class Parser {
  #at = 0
  readonly #source: string
  constructor(source: string) {
    this.#source = source
  }

  parse(): Node {
    const parts = [this.#sequence()]
    while (this.#source[this.#at] === '|') {
      this.#at++
      parts.push(this.#sequence())
    }
    return parts.length === 1 ? parts[0]! : { type: 'choice', parts }
  }

  #sequence(): Node {
    const parts: Node[] = []
    while (this.#at < this.#source.length && !'|)'.includes(this.#source[this.#at]!)) parts.push(this.#quantified())
    return { type: 'sequence', parts }
  }

  #quantified(): Node {
    const node = this.#atom()
    const quantifier = /^(?:[*+?]|\{(\d+)(,?)(\d*)\})\??/.exec(this.#source.slice(this.#at, this.#at + 40))
    if (!quantifier) return node
    this.#at += quantifier[0].length
    const sign = quantifier[0][0]
    if (sign === '*') return { type: 'repeat', node, min: 0, max: Infinity }
    if (sign === '+') return { type: 'repeat', node, min: 1, max: Infinity }
    if (sign === '?') return { type: 'repeat', node, min: 0, max: 1 }
    const min = Number(quantifier[1])
    const max = quantifier[2] === '' ? min : quantifier[3] === '' ? Infinity : Number(quantifier[3])
    return { type: 'repeat', node, min, max }
  }

  #atom(): Node {
    const character = this.#source[this.#at]!
    if (character === '(') return this.#group()
    if (character === '[') return this.#native(this.#endOfClass())
    if (character === '\\') return this.#escape()
    if (character === '^' || character === '$') {
      this.#at++
      return { type: 'assert', kind: character }
    }
    if (character === '.') return this.#native(this.#at + 1)
    const codePoint = this.#source.codePointAt(this.#at)!
    this.#at += codePoint > 0xffff ? 2 : 1
    return { type: 'char', test: (other) => other === codePoint }
  }

  #group(): Node {
    const rest = this.#source.slice(this.#at)
    const opening = /^\((?:\?:|\?<[^=!>][^>]*>|(?!\?))/.exec(rest)
    if (!opening) throw new SyntaxError('uses look-around or flags within a group, which are not supported')
    this.#at += opening[0].length
    const node = this.parse()
    this.#at++
    return node
  }

  #escape(): Node {
    const next = this.#source[this.#at + 1]!
    if (next === 'b' || next === 'B') {
      this.#at += 2
      return { type: 'assert', kind: next }
    }
    if (next === 'k' || (next >= '1' && next <= '9'))
      throw new SyntaxError('uses a back reference, which is not supported')
    const escape =
      /^\\(?:u\{[^}]*\}|u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u.{4}|x..|c.|[pP]\{[^}]*\}|.)/u
    return this.#native(this.#at + escape.exec(this.#source.slice(this.#at))![0].length)
  }

  #endOfClass(): number {
    let end = this.#at + 1
    while (this.#source[end] !== ']') end += this.#source[end] === '\\' ? 2 : 1
    return end + 1
  }

  /** An atom that stands for one character is left to the platform, one character at a time: that cannot backtrack. */
  #native(end: number): Node {
    const regex = new RegExp(`^${this.#source.slice(this.#at, end)}$`, 'u')
    this.#at = end
    const known = new Map<number, boolean>()
    return {
      type: 'char',
      test(codePoint) {
        let answer = known.get(codePoint)
        if (answer === undefined) {
          answer = regex.test(String.fromCodePoint(codePoint))
          if (known.size < 1_000) known.set(codePoint, answer)
        }
        return answer
      },
    }
  }
}

class Compiler {
  readonly #program: Instruction[] = []

  compile(node: Node): Instruction[] {
    this.#emit(node)
    this.#add({ op: 'match' })
    return this.#program
  }

  #add(instruction: Instruction): number {
    if (this.#program.length >= maxInstructions) throw new SyntaxError('repeats too much')
    return this.#program.push(instruction) - 1
  }

  #emit(node: Node): void {
    if (node.type === 'char') this.#add({ op: 'char', test: node.test })
    else if (node.type === 'assert') this.#add({ op: 'assert', kind: node.kind })
    else if (node.type === 'sequence') for (const part of node.parts) this.#emit(part)
    else if (node.type === 'repeat') this.#repeat(node.node, node.min, node.max)
    else this.#choice(node.parts)
  }

  #choice(parts: Node[]): void {
    const split = this.#jump()
    const ends = parts.map((part) => {
      split.to.push(this.#program.length)
      this.#emit(part)
      return this.#jump()
    })
    for (const end of ends) end.to.push(this.#program.length)
  }

  #repeat(node: Node, min: number, max: number): void {
    for (let i = 0; i < min; i++) this.#copy(node)
    if (max === Infinity) {
      const start = this.#program.length
      const split = this.#jump()
      split.to.push(this.#program.length)
      this.#emit(node)
      this.#jump().to.push(start)
      split.to.push(this.#program.length)
      return
    }
    const exits: { to: number[] }[] = []
    for (let i = min; i < max; i++) {
      const split = this.#jump()
      split.to.push(this.#program.length)
      this.#copy(node)
      exits.push(split)
    }
    for (const exit of exits) exit.to.push(this.#program.length)
  }

  /** A copy that adds nothing, as of `()`, must not let a count of a billion loop here. */
  #copy(node: Node): void {
    const before = this.#program.length
    this.#emit(node)
    if (this.#program.length === before) this.#jump().to.push(this.#program.length)
  }

  #jump(): { op: 'split'; to: number[] } {
    const split = { op: 'split' as const, to: [] as number[] }
    this.#add(split)
    return split
  }
}

function run(program: Instruction[], text: string): boolean {
  const marks = new Int32Array(program.length).fill(-1)
  let current: number[] = []
  let steps = 0
  let previous = -1
  for (let at = 0; ;) {
    const codePoint = text.codePointAt(at) ?? -1
    // A match may begin anywhere, so the start joins at every position.
    const pending = [0, ...current.toReversed()]
    const ready: number[] = []
    while (pending.length > 0) {
      const index = pending.pop()!
      if (marks[index] === at) continue
      marks[index] = at
      steps++
      const instruction = program[index]!
      if (instruction.op === 'match') return true
      if (instruction.op === 'split') pending.push(...instruction.to)
      else if (instruction.op === 'char') ready.push(index)
      else if (holds(instruction.kind, previous, codePoint)) pending.push(index + 1)
    }
    if (codePoint === -1) return false
    if (steps > maxSteps) throw new RangeError('The text is too long for this pattern.')
    current = []
    for (const index of ready) {
      const instruction = program[index]!
      if (instruction.op === 'char' && instruction.test(codePoint)) current.push(index + 1)
    }
    previous = codePoint
    at += codePoint > 0xffff ? 2 : 1
  }
}

function holds(kind: Assertion, previous: number, next: number): boolean {
  if (kind === '^') return previous === -1
  if (kind === '$') return next === -1
  return (isWord(previous) !== isWord(next)) === (kind === 'b')
}

const isWord = (codePoint: number): boolean => codePoint >= 0 && /^\w$/u.test(String.fromCodePoint(codePoint))
