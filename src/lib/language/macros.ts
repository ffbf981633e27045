import type { Node } from './ast.ts'
import type { Budget } from './budget.ts'
import { bool, type Compiler, type Frame, type Locals, type Run, staticPath } from './compile.ts'
import { ordered } from './functions/lists.ts'
import { LanguageError } from './scope.ts'
import { isMap, kindOf, type Value } from './values.ts'

interface Call {
  node: Node
  name: string
  args: Node[]
  receiver: Node | undefined
}

/** `x.map(item, …)` and its like: they name a variable, so they are compiled, not called. Documented in docs/expressions.md. */
export const macroNames = ['all', 'exists', 'exists_one', 'map', 'filter', 'sort_by', 'has', 'bind'] as const

/** The macro's code, or undefined where the call is an ordinary function. */
export function compileMacro(compiler: Compiler, call: Call, locals: Locals): Run | undefined {
  const { name, args, receiver } = call
  if (name === 'has' && !receiver) return compileHas(compiler, call, locals)
  if (name === 'bind' && receiver?.op === 'id' && receiver.args === 'cel') return compileBind(compiler, call, locals)
  if (!receiver) return undefined
  const loop = loops[name]
  if (loop && Object.hasOwn(loops, name)) return compileLoop(compiler, call, locals, loop)
  // sort_by is a function too: sort_by(list, 'path').
  if (name === 'sort_by' && args.length === 2 && args[0]?.op === 'id') {
    return compileLoop(compiler, call, locals, sortLoop)
  }
  return undefined
}

interface LoopBody {
  accepts: (item: Value) => boolean
  value: (item: Value) => Value
  budget: Budget
}

interface LoopShape {
  /** How many expressions follow the variable. */
  counts: number[]
  /** Whether the one expression decides, or makes a value. */
  predicate: boolean
  run: (items: Value[], body: LoopBody) => Value
}

const loops: Record<string, LoopShape | undefined> = {
  all: { counts: [1], predicate: true, run: (items, { accepts }) => items.every(accepts) },
  exists: { counts: [1], predicate: true, run: (items, { accepts }) => items.some(accepts) },
  exists_one: { counts: [1], predicate: true, run: (items, { accepts }) => items.filter(accepts).length === 1 },
  filter: { counts: [1], predicate: true, run: (items, { accepts }) => items.filter(accepts) },
  map: { counts: [1, 2], predicate: false, run: (items, { accepts, value }) => items.filter(accepts).map(value) },
}

const sortLoop: LoopShape = {
  counts: [1],
  predicate: false,
  run: (items, { value, budget }) => ordered(items, items.map(value), budget),
}

function compileLoop(compiler: Compiler, call: Call, locals: Locals, shape: LoopShape): Run {
  const { name, args, receiver } = call
  const [variable, ...bodies] = args
  if (!receiver || variable?.op !== 'id' || !shape.counts.includes(bodies.length)) {
    return compiler.fault(`${name}() wants a variable name and an expression: list.${name}(x, ...).`)
  }
  const slot = compiler.newSlot()
  const inner = new Map(locals).set(variable.args, slot)
  const source = compiler.compile(receiver, locals)
  const runs = bodies.map((body) => compiler.compile(body, inner))
  const text = compiler.text(bodies[0] ?? variable)
  const where = compiler.text(call.node)
  const condition = shape.predicate || runs.length === 2 ? runs[0] : undefined
  const body = runs.at(-1)
  return (frame) => {
    const items = iterable(source(frame), where, frame.budget)
    const evaluate = (run: Run | undefined, item: Value): Value => {
      frame.budget.use(1)
      frame.locals[slot] = item
      return run ? run(frame) : null
    }
    frame.budget.allocate(items.length)
    return shape.run(items, {
      accepts: (item) => condition === undefined || bool(evaluate(condition, item), text),
      value: (item) => evaluate(body, item),
      budget: frame.budget,
    })
  }
}

/** Lists give their elements, maps their keys. */
function iterable(value: Value, where: string, budget: Budget): Value[] {
  if (Array.isArray(value)) return value
  if (!isMap(value)) throw new LanguageError(`${where}: a ${kindOf(value)} cannot be looped over.`)
  const keys = Object.keys(value)
  budget.use(keys.length)
  return keys
}

/** Whether a path exists. Any part of it may be absent, null included, before its last key. */
function compileHas(compiler: Compiler, { args }: Call, locals: Locals): Run {
  const [node] = args
  if (args.length !== 1 || node?.op !== '.') return compiler.fault('has() wants a path that ends in a key: has(a.b).')
  const keys: string[] = []
  let root: Node = node
  while (root.op === '.') {
    keys.unshift(root.args[1])
    root = root.args[0]
  }
  // Run key by key from its root, so that an absent part is an answer, not a fault.
  const reference = staticPath(node)
  if (reference && !locals.has(reference.root)) compiler.references.push(reference)
  const run = reference ? compiler.quietly(root, locals) : compiler.compile(root, locals)
  return (frame) => {
    frame.budget.use(1 + keys.length)
    let value: Value = run(frame)
    for (const key of keys) {
      if (!isMap(value) || !Object.hasOwn(value, key)) return false
      value = value[key] ?? null
    }
    return true
  }
}

/** `cel.bind(x, value, expression)`: a name for a part that is used more than once. */
function compileBind(compiler: Compiler, { args }: Call, locals: Locals): Run {
  const [variable, value, body] = args
  if (args.length !== 3 || variable?.op !== 'id' || !value || !body) {
    return compiler.fault('cel.bind() wants a name, a value and an expression: cel.bind(x, 1 + 2, x * x).')
  }
  const slot = compiler.newSlot()
  const bound = compiler.compile(value, locals)
  const run = compiler.compile(body, new Map(locals).set(variable.args, slot))
  return (frame: Frame) => {
    frame.budget.use(1)
    frame.locals[slot] = bound(frame)
    return run(frame)
  }
}
