import type { CharTest, PatternNode, PositionTest } from './tree.ts'

/**
 * Regular expressions that tenants write run here and not in the engine of the platform: that one backtracks, and one
 * pattern such as `^(a+)+$` with thirty letters would stop a process for minutes. This one walks all alternatives side
 * by side (Thompson's construction), so its work is the length of the text times the size of the pattern, whatever
 * either says.
 */
export interface LinearRegex {
  /** Instructions: a test takes at most this many steps for each character. */
  readonly size: number
  /** Whether the pattern occurs in the text. `use` hears of every step taken, and may throw to end the search. */
  test(text: string, use: (steps: number) => void): boolean
}

type Instruction =
  | { kind: 'char'; test: CharTest }
  | { kind: 'assert'; test: PositionTest }
  | { kind: 'jump'; to: number[] }
  | { kind: 'match' }

/** Throws SyntaxError where the pattern takes more instructions than that. */
export function compile(tree: PatternNode, maxInstructions: number): LinearRegex {
  const program = new Compiler(maxInstructions).compile(tree)
  return { size: program.length, test: (text, use) => search(program, text, use) }
}

class Compiler {
  readonly #program: Instruction[] = []
  readonly #maxInstructions: number

  constructor(maxInstructions: number) {
    this.#maxInstructions = maxInstructions
  }

  compile(tree: PatternNode): Instruction[] {
    this.#emit(tree)
    this.#push({ kind: 'match' })
    return this.#program
  }

  #push(instruction: Instruction): void {
    if (this.#program.length >= this.#maxInstructions) throw new SyntaxError('is too large, or repeats too much')
    this.#program.push(instruction)
  }

  #jump(...to: number[]): number[] {
    this.#push({ kind: 'jump', to })
    return to
  }

  #emit(node: PatternNode): void {
    if (node.kind === 'sequence') for (const part of node.parts) this.#emit(part)
    else if (node.kind === 'either') this.#either(node.options)
    else if (node.kind === 'repeat') this.#repeat(node.part, node.min, node.max)
    else this.#push(node)
  }

  #either(options: PatternNode[]): void {
    const starts = this.#jump()
    const exits = options.map((option) => {
      starts.push(this.#program.length)
      this.#emit(option)
      return this.#jump()
    })
    for (const exit of exits) exit.push(this.#program.length)
  }

  #repeat(part: PatternNode, min: number, max: number): void {
    for (let count = 0; count < min; count += 1) this.#copy(part)
    if (max === Infinity) {
      const start = this.#program.length
      const loop = this.#jump(start + 1)
      this.#emit(part)
      this.#jump(start)
      loop.push(this.#program.length)
      return
    }
    const exits: number[][] = []
    for (let count = min; count < max; count += 1) {
      exits.push(this.#jump(this.#program.length + 1))
      this.#copy(part)
    }
    for (const exit of exits) exit.push(this.#program.length)
  }

  /** A copy that adds nothing, as of `()`, must not let a count of a billion loop here. */
  #copy(part: PatternNode): void {
    const before = this.#program.length
    this.#emit(part)
    if (this.#program.length === before) this.#jump(before + 1)
  }
}

/** `marks` lets each instruction be visited once a position, which is what keeps the work linear. */
function search(program: Instruction[], text: string, use: (steps: number) => void): boolean {
  const marks = new Int32Array(program.length).fill(-1)
  const waiting: number[] = []
  // A match may begin at every position, so the program's start joins what is under way.
  const pending = [0]
  let before = -1
  for (let at = 0; ;) {
    const code = text.codePointAt(at) ?? -1
    let steps = 0
    for (let index = pending.pop(); index !== undefined; index = pending.pop()) {
      if (marks[index] === at) continue
      marks[index] = at
      steps += 1
      const instruction = program[index]
      if (instruction === undefined || instruction.kind === 'match') return true
      if (instruction.kind === 'char') waiting.push(index)
      else if (instruction.kind === 'jump') for (const to of instruction.to) pending.push(to)
      else if (instruction.test(before, code)) pending.push(index + 1)
    }
    use(steps)
    if (code === -1) return false
    for (const index of waiting) if (accepts(program[index], code)) pending.push(index + 1)
    waiting.length = 0
    pending.push(0)
    before = code
    at += code > 0xffff ? 2 : 1
  }
}

const accepts = (instruction: Instruction | undefined, code: number): boolean =>
  instruction?.kind === 'char' && instruction.test(code)
