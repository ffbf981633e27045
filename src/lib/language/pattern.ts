import { LruCache } from './lru.ts'
import { type PatternNode, parsePattern } from './pattern-syntax.ts'
import { LanguageError } from './scope.ts'

/**
 * Whether a pattern occurs in a text, in time linear to both (RE2's rule, Thompson's construction): the engines'
 * own regular expressions can be driven into exponential work by a pattern or by the data.
 */
export type Matcher = (text: string, use: (steps: number) => void) => boolean

type Instruction =
  | { kind: 'char'; test: (code: number) => boolean }
  | { kind: 'split'; first: number; second: number }
  | { kind: 'jump'; to: number }
  | { kind: 'assert'; test: (before: number, after: number) => boolean }
  | { kind: 'match' }

const maxInstructions = 2000
const compiled = new LruCache<Matcher>(200)

export function compilePattern(pattern: string): Matcher {
  return compiled.getOrMake(pattern, () => {
    const program: Instruction[] = []
    emit(parsePattern(pattern), program)
    program.push({ kind: 'match' })
    return (text, use) => search(program, text, use)
  })
}

function push(program: Instruction[], instruction: Instruction): number {
  if (program.length >= maxInstructions) throw new LanguageError('The pattern is too large.')
  program.push(instruction)
  return program.length - 1
}

function emit(node: PatternNode, program: Instruction[]): void {
  switch (node.kind) {
    case 'char':
    case 'assert':
      push(program, node)
      return
    case 'sequence':
      for (const part of node.parts) emit(part, program)
      return
    case 'either':
      emitEither(node.options, program)
      return
    case 'repeat':
      emitRepeat(node.part, node.min, node.max, program)
  }
}

function emitEither(options: PatternNode[], program: Instruction[]): void {
  const exits: number[] = []
  options.forEach((option, index) => {
    if (index === options.length - 1) return emit(option, program)
    const split = push(program, { kind: 'split', first: program.length + 1, second: 0 })
    emit(option, program)
    exits.push(push(program, { kind: 'jump', to: 0 }))
    program[split] = { kind: 'split', first: split + 1, second: program.length }
  })
  for (const exit of exits) program[exit] = { kind: 'jump', to: program.length }
}

function emitRepeat(part: PatternNode, min: number, max: number, program: Instruction[]): void {
  for (let count = 0; count < min; count += 1) emit(part, program)
  if (max === Infinity) {
    const split = push(program, { kind: 'split', first: program.length + 1, second: 0 })
    emit(part, program)
    push(program, { kind: 'jump', to: split })
    program[split] = { kind: 'split', first: split + 1, second: program.length }
    return
  }
  const splits: number[] = []
  for (let count = min; count < max; count += 1) {
    splits.push(push(program, { kind: 'split', first: program.length + 1, second: 0 }))
    emit(part, program)
  }
  for (const split of splits) program[split] = { kind: 'split', first: split + 1, second: program.length }
}

/** Runs all alternatives side by side, one character at a time; `marks` keeps each instruction once a position. */
function search(program: Instruction[], text: string, use: (steps: number) => void): boolean {
  const marks = new Int32Array(program.length).fill(-1)
  let threads: number[] = []
  let before = -1
  let position = 0
  for (let at = 0; ; position += 1) {
    const code = at < text.length ? (text.codePointAt(at) ?? -1) : -1
    // A match may begin at every position, so the program's start joins the threads that are under way.
    const pending = [...threads, 0].toReversed()
    const waiting: number[] = []
    while (pending.length > 0) {
      const index = pending.pop() ?? 0
      if (marks[index] === position) continue
      marks[index] = position
      const instruction = program[index]
      if (instruction === undefined || instruction.kind === 'match') return true
      if (instruction.kind === 'char') waiting.push(index)
      else if (instruction.kind === 'jump') pending.push(instruction.to)
      else if (instruction.kind === 'split') pending.push(instruction.second, instruction.first)
      else if (instruction.test(before, code)) pending.push(index + 1)
    }
    use(2 + waiting.length)
    if (code === -1) return false
    threads = waiting.filter((index) => accepts(program[index], code)).map((index) => index + 1)
    before = code
    at += code > 0xffff ? 2 : 1
  }
}

function accepts(instruction: Instruction | undefined, code: number): boolean {
  return instruction?.kind === 'char' && instruction.test(code)
}
