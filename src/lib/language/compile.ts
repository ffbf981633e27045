import { type BinaryOperator, type Node, parseSource } from './ast.ts'
import { Budget, BudgetError } from './budget.ts'
import { functions } from './functions/index.ts'
import { compileMacro } from './macros.ts'
import { binary } from './operators.ts'
import { LanguageError, type Reference, type Scope } from './scope.ts'
import { isMap, kindOf, setOwn, type Value, type ValueMap } from './values.ts'

/** One evaluation: what it sees, its loop variables by slot, and what it may still do. */
export interface Frame {
  scope: Scope
  locals: Value[]
  budget: Budget
}

export type Run = (frame: Frame) => Value

/** A failure that the other side of `||` or `&&` absorbs has been made with its trace, which takes far longer than a step. */
const failureSteps = 100

/** Loop variables in sight, by name. Every loop of a program has its own slot, and no loop runs inside itself. */
export type Locals = ReadonlyMap<string, number>

/** Collects every fault instead of stopping at the first. */
export class Compiler {
  readonly faults: string[] = []
  readonly references: Reference[] = []
  readonly #source: string
  #slots = 0

  constructor(source: string) {
    this.#source = source
  }

  /** The expression as written, for messages. */
  text(node: Node): string {
    const text = this.#source.slice(node.start, node.end)
    return text.length > 80 ? `${text.slice(0, 77)}...` : text
  }

  newSlot(): number {
    this.#slots += 1
    return this.#slots - 1
  }

  fault(message: string): Run {
    this.faults.push(message)
    return () => {
      throw new LanguageError(message)
    }
  }

  compile(node: Node, locals: Locals): Run {
    switch (node.op) {
      case 'value':
        return this.#literal(node.args)
      case 'id':
      case '.':
      case '[]':
        return this.#path(node, locals)
      case 'call':
        return this.#call(node, node.args[0], node.args[1], undefined, locals)
      case 'rcall':
        return this.#call(node, node.args[0], node.args[2], node.args[1], locals)
      case 'list': {
        const items = node.args.map((item) => this.compile(item, locals))
        return (frame) => {
          frame.budget.use(items.length + 1)
          return items.map((item) => item(frame))
        }
      }
      case 'map':
        return this.#map(node.args, locals)
      case '?:': {
        const [condition, then, otherwise] = node.args.map((part) => this.compile(part, locals)) as [Run, Run, Run]
        const what = this.text(node.args[0])
        return (frame) => (bool(condition(frame), what) ? then(frame) : otherwise(frame))
      }
      case '||':
      case '&&':
        return this.#logical(node.op === '||', node.args, locals)
      case '!_': {
        const operand = this.compile(node.args, locals)
        const what = this.text(node.args)
        return (frame) => {
          frame.budget.use(1)
          return !bool(operand(frame), what)
        }
      }
      case '-_': {
        const operand = this.compile(node.args, locals)
        return (frame) => {
          frame.budget.use(1)
          return binary('-', 0, operand(frame), frame.budget)
        }
      }
      default:
        return this.#binary(node.op, node.args, locals)
    }
  }

  /** Code for a node whose references are recorded already. */
  quietly(node: Node, locals: Locals): Run {
    const known = this.references.length
    const run = this.compile(node, locals)
    this.references.length = known
    return run
  }

  #literal(raw: unknown): Run {
    if (typeof raw === 'bigint') {
      const value = Number(raw)
      if (!Number.isSafeInteger(value)) return this.fault(`${raw} is too large for a JSON number.`)
      return () => value
    }
    if (raw === null || typeof raw === 'string' || typeof raw === 'boolean') return () => raw
    if (typeof raw === 'number' && Number.isFinite(raw)) return () => raw
    if (raw instanceof Uint8Array) return this.fault('Byte strings are not supported: use text.')
    return this.fault('Unsigned numbers are not supported: leave out the u.')
  }

  #binary(op: BinaryOperator, args: [Node, Node], locals: Locals): Run {
    const left = this.compile(args[0], locals)
    const right = this.compile(args[1], locals)
    return (frame) => {
      frame.budget.use(1)
      return binary(op, left(frame), right(frame), frame.budget)
    }
  }

  /** `a || b` is true when either side is true, also where the other side fails: CEL's rule. `&&` alike. */
  #logical(decisive: boolean, args: [Node, Node], locals: Locals): Run {
    const [left, right] = args.map((part) => this.compile(part, locals)) as [Run, Run]
    const [leftText, rightText] = args.map((part) => this.text(part)) as [string, string]
    return (frame) => {
      frame.budget.use(1)
      let failure: LanguageError | undefined
      try {
        if (bool(left(frame), leftText) === decisive) return decisive
      } catch (error) {
        if (!(error instanceof LanguageError) || error instanceof BudgetError) throw error
        frame.budget.use(failureSteps)
        failure = error
      }
      if (bool(right(frame), rightText) === decisive) return decisive
      if (failure) throw failure
      return !decisive
    }
  }

  #map(entries: [Node, Node][], locals: Locals): Run {
    const parts = entries.map(([key, value]) => ({
      key: this.compile(key, locals),
      value: this.compile(value, locals),
    }))
    return (frame) => {
      frame.budget.use(parts.length + 1)
      const map: ValueMap = {}
      for (const part of parts) {
        const key = part.key(frame)
        if (typeof key !== 'string') throw new LanguageError(`A map key must be a string, not a ${kindOf(key)}.`)
        setOwn(map, key, part.value(frame))
      }
      return map
    }
  }

  /** A name, or a way into a value: `steps.fetch.output["body"][0]`. */
  #path(node: Node & { op: 'id' | '.' | '[]' }, locals: Locals): Run {
    const reference = staticPath(node)
    if (reference && !locals.has(reference.root)) {
      this.references.push(reference)
      return this.#access(node, locals, false)
    }
    return this.#access(node, locals, true)
  }

  #access(node: Node, locals: Locals, record: boolean): Run {
    const text = this.text(node)
    if (node.op === 'id') {
      const slot = locals.get(node.args)
      const name = node.args
      if (slot !== undefined) return (frame) => frame.locals[slot] ?? null
      return (frame) => {
        frame.budget.use(1)
        if (!Object.hasOwn(frame.scope, name)) throw new LanguageError(`Unknown name: ${name}.`)
        return frame.scope[name] ?? null
      }
    }
    if (node.op === '.') {
      const [target, key] = node.args
      const run = this.#target(target, locals, record)
      return (frame) => member(run(frame), key, text, frame.budget)
    }
    if (node.op === '[]') {
      const run = this.#target(node.args[0], locals, record)
      const index = this.compile(node.args[1], locals)
      return (frame) => member(run(frame), index(frame), text, frame.budget)
    }
    return this.compile(node, locals)
  }

  /** The parts of a path whose whole is already recorded are not recorded again. */
  #target(node: Node, locals: Locals, record: boolean): Run {
    return record ? this.compile(node, locals) : this.#access(node, locals, false)
  }

  #call(node: Node, name: string, args: Node[], receiver: Node | undefined, locals: Locals): Run {
    const macro = compileMacro(this, { node, name, args, receiver }, locals)
    if (macro) return macro
    const declared = Object.hasOwn(functions, name) ? functions[name] : undefined
    const all = receiver ? [receiver, ...args] : args
    const known = this.references.length
    const runs = all.map((arg) => this.compile(arg, locals))
    if (!declared) return this.fault(`Unknown function: ${name}().`)
    const { min, max, call } = declared
    if (all.length < min || all.length > max) {
      const wanted = min === max ? `${min}` : max === Infinity ? `at least ${min}` : `${min} to ${max}`
      return this.fault(`${name}() takes ${wanted} arguments (the value before the dot counts), not ${all.length}.`)
    }
    if (name === 'get') this.#extendReference(this.references[known], all)
    const fault = declared.check?.(all.map((arg) => (arg.op === 'value' ? arg.args : undefined)))
    if (fault) this.faults.push(fault)
    return (frame) => {
      const values = runs.map((run) => run(frame))
      frame.budget.use(2 + values.reduce<number>((sum, value) => sum + weight(value), 0))
      return call(values, frame.budget)
    }
  }

  /** `get(steps, 'fetch.output')` uses steps.fetch.output: its literal path belongs to the reference of its target. */
  #extendReference(reference: Reference | undefined, [target, path]: Node[]): void {
    if (!reference || !target || path?.op !== 'value' || typeof path.args !== 'string') return
    const whole = staticPath(target)
    if (whole?.root !== reference.root || whole.path.length !== reference.path.length) return
    reference.path.push(...path.args.split(/[.[\]"']+/).filter((part) => part !== ''))
  }
}

/** Functions touch their arguments, so long texts and lists cost more than short ones. */
function weight(value: Value): number {
  if (typeof value === 'string') return value.length >> 5
  return Array.isArray(value) ? value.length >> 2 : 0
}

export function bool(value: Value, what: string): boolean {
  if (typeof value === 'boolean') return value
  throw new LanguageError(`${what} must be true or false, not a ${kindOf(value)}.`)
}

/** One step into a value. Only its own keys are seen, so nothing of a prototype can be reached. */
export function member(target: Value, key: Value, text: string, budget: Budget): Value {
  budget.use(1)
  if (Array.isArray(target)) {
    if (typeof key !== 'number' || !Number.isInteger(key)) {
      throw new LanguageError(`${text}: a list is indexed by whole numbers, or by size(), map() and the like.`)
    }
    if (key < 0 || key >= target.length) {
      throw new LanguageError(`${text}: the list has ${target.length} elements, there is no [${key}].`)
    }
    return target[key] ?? null
  }
  if (isMap(target)) {
    const name = typeof key === 'number' ? String(key) : key
    if (typeof name !== 'string') throw new LanguageError(`${text}: a map is indexed by strings.`)
    if (!Object.hasOwn(target, name)) {
      throw new LanguageError(`${text}: there is no '${name.slice(0, 80)}'. Ask with has() or read it with get().`)
    }
    return target[name] ?? null
  }
  throw new LanguageError(`${text}: a ${kindOf(target)} has no members. Ask with has() or read it with get().`)
}

/** The scope name at the start of a path and the keys that are written out. */
export function staticPath(node: Node): Reference | undefined {
  if (node.op === 'id') return { root: node.args, path: [] }
  if (node.op !== '.' && node.op !== '[]') return undefined
  const base = staticPath(node.args[0])
  if (!base) return undefined
  const key = node.op === '.' ? node.args[1] : literalKey(node.args[1])
  return key === undefined ? undefined : { root: base.root, path: [...base.path, key] }
}

function literalKey(node: Node): string | undefined {
  if (node.op !== 'value') return undefined
  return typeof node.args === 'string' || typeof node.args === 'bigint' ? String(node.args) : undefined
}

export interface Program {
  run: Run
  faults: string[]
  references: Reference[]
}

function distinct(references: Reference[]): Reference[] {
  const found = new Map(references.map((each) => [JSON.stringify([each.root, ...each.path]), each]))
  return [...found.values()]
}

export function compileSource(source: string): Program {
  const compiler = new Compiler(source)
  try {
    const run = compiler.compile(parseSource(source), new Map())
    return { run, faults: compiler.faults, references: distinct(compiler.references) }
  } catch (error) {
    if (error instanceof LanguageError)
      return { run: compiler.fault(error.message), faults: [error.message], references: [] }
    if (error instanceof RangeError) {
      const message = 'The expression is nested too deeply.'
      return { run: compiler.fault(message), faults: [message], references: [] }
    }
    throw error
  }
}
