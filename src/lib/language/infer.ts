import { parseSource, type BinaryOperator, type Node } from './ast.ts'
import { Budget } from './budget.ts'
import { checkExpression } from './expression.ts'
import { functions } from './functions/index.ts'
import { LruCache } from '../lru-cache.ts'
import { binary } from './operators.ts'
import { LanguageError } from './scope.ts'
import { anyJson, anything, either, inWords, isNever, listOf, mapOf, never, only, typeOf, type Type } from './types.ts'
import { Duration, kindOf, Timestamp, type Kind, type Value } from './values.ts'

/** A part of an expression that fails whatever the values are, as long as they have the types that they are known to have. */
export interface TypeFault {
  detail: string
  /** The part, as it is written; it fails wherever it is reached. */
  source: string
}

export interface Inference {
  type: Type
  faults: TypeFault[]
}

/** The types of the names that an expression can see. A name that is not among them may be anything. */
export type TypeScope = { readonly [name: string]: Type }

/**
 * What an expression comes to, and which parts of it can never work. What is possible is asked of the evaluator itself, by
 * trying its operators and functions on values of each kind: no second set of rules that could differ. Whatever is not
 * certain is no fault.
 */
export function inferExpression(source: string, scope: TypeScope): Inference {
  // What cannot be read is told of by the check of the syntax.
  if (checkExpression(source).faults.length > 0) return { type: anything, faults: [] }
  const faults: TypeFault[] = []
  return { type: new Inferrer(source, faults).infer(parseSource(source), scope), faults }
}

/** Of one expression; nobody reads on. */
const maxFaults = 20

const shortName = (name: string): string => (name.length > 60 ? `${name.slice(0, 57)}...` : name)

class Inferrer {
  readonly #source: string
  readonly #faults: TypeFault[]

  constructor(source: string, faults: TypeFault[]) {
    this.#source = source
    this.#faults = faults
  }

  infer(node: Node, scope: TypeScope): Type {
    switch (node.op) {
      case 'value':
        return typeOf(kindOfLiteral(node.args))
      case 'id':
        return Object.hasOwn(scope, node.args) ? scope[node.args]! : anything
      case '.':
        return this.#member(node, this.infer(node.args[0], scope), node.args[1])
      case '[]': {
        const [target, key] = node.args
        const type = this.infer(target, scope)
        const index = this.infer(key, scope)
        if (isNever(index)) return never
        if (key.op === 'value' && typeof key.args === 'string') return this.#member(node, type, key.args)
        return this.#element(node, type, index)
      }
      case 'list': {
        const items = node.args.map((item) => this.infer(item, scope))
        return items.some(isNever) ? never : listOf(items.reduce(either, never))
      }
      case 'map':
        return this.#map(node.args, scope)
      case '?:': {
        const [condition, then, otherwise] = node.args
        const decided = this.#condition(condition, scope)
        const type = either(this.infer(then, scope), this.infer(otherwise, scope))
        return decided ? type : never
      }
      case '||':
      case '&&':
        return this.#logical(node.args, scope)
      case '!_':
        return this.#condition(node.args, scope) ? typeOf('bool') : never
      case '-_':
        return this.#binary(node, '-', typeOf('number'), this.infer(node.args, scope))
      case 'call':
        return this.#call(node, node.args[0], undefined, node.args[1], scope)
      case 'rcall':
        return this.#call(node, node.args[0], node.args[1], node.args[2], scope)
      default:
        return this.#binary(node, node.op, this.infer(node.args[0], scope), this.infer(node.args[1], scope))
    }
  }

  #text(node: Node): string {
    return this.#source.slice(node.start, node.end)
  }

  #shown(node: Node): string {
    const text = this.#text(node)
    return text.length > 80 ? `${text.slice(0, 77)}...` : text
  }

  #fault(node: Node, detail: string): Type {
    if (this.#faults.length < maxFaults)
      this.#faults.push({ detail: `${this.#shown(node)} can never work: ${detail}`, source: this.#text(node) })
    return never
  }

  #member(node: Node, target: Type, name: string): Type {
    if (isNever(target)) return never
    if (!target.kinds.has('map')) return this.#fault(node, `there is no '${name}' in ${inWords(target)}`)
    const { members, closed, unlisted } = target
    const places = [members, unlisted].filter((place) => place !== undefined && Object.hasOwn(place, name))
    if (places.length > 0) return places.map((place) => place![name]!).reduce(either)
    if (!closed) return anything
    const known = Object.keys(members ?? {})
    return this.#fault(
      node,
      `there is no '${name}'${known.length > 0 ? ` among ${known.slice(0, 20).map(shortName).join(', ')}` : ''}`,
    )
  }

  /** A member whose name is worked out, or an element of a list. */
  #element(node: Node, target: Type, index: Type): Type {
    if (isNever(target)) return never
    const ofList = target.kinds.has('list') && index.kinds.has('number')
    const ofMap = target.kinds.has('map') && (index.kinds.has('string') || index.kinds.has('number'))
    if (!ofList && !ofMap) return this.#fault(node, `${inWords(target)} has no element at ${inWords(index)}`)
    return either(ofList ? (target.items ?? anything) : never, ofMap ? anything : never)
  }

  #map(entries: [Node, Node][], scope: TypeScope): Type {
    const members: { [name: string]: Type } = {}
    let written = true
    let fails = false
    for (const [key, value] of entries) {
      const type = this.infer(value, scope)
      const name = this.infer(key, scope)
      if (isNever(type) || isNever(name)) fails = true
      else if (!name.kinds.has('string')) fails = isNever(this.#fault(key, `a key is a text, not ${inWords(name)}`))
      else if (key.op === 'value' && typeof key.args === 'string' && key.args !== '__proto__') members[key.args] = type
      else written = false
    }
    if (fails) return never
    return written ? mapOf(members, true) : typeOf('map')
  }

  /** Whether it can be true or false. */
  #condition(node: Node, scope: TypeScope): boolean {
    const type = this.infer(node, scope)
    if (isNever(type)) return false
    if (!type.kinds.has('bool')) this.#fault(node, `it must be true or false, and is ${inWords(type)}`)
    return type.kinds.has('bool')
  }

  /** One side that is true, or false, may decide where the other one fails. */
  #logical(sides: [Node, Node], scope: TypeScope): Type {
    const decided = sides.map((side) => this.#condition(side, scope))
    return decided.includes(true) ? typeOf('bool') : never
  }

  #binary(node: Node, op: BinaryOperator, left: Type, right: Type): Type {
    if (isNever(left) || isNever(right)) return never
    const kinds = resultsOf(op, [left, right], ([a, b], budget) => binary(op, a!, b!, budget))
    if (kinds.size === 0) return this.#fault(node, binaryFault(op, left, right))
    const isList = kinds.has('list') && left.items && right.items
    return { kinds, items: isList ? either(left.items!, right.items!) : undefined }
  }

  #call(node: Node, name: string, receiver: Node | undefined, args: Node[], scope: TypeScope): Type {
    if (name === 'has' && !receiver) return this.#has(args[0]!, scope)
    if (name === 'bind' && receiver?.op === 'id' && receiver.args === 'cel') {
      const [variable, value, body] = args as [Node, Node, Node]
      const bound = this.infer(value, scope)
      const inner = this.infer(body, { ...scope, [String(variable.args)]: bound })
      return isNever(bound) ? never : inner
    }
    const [variable, ...bodies] = args
    if (receiver && variable?.op === 'id' && isLoop(name, bodies.length))
      return this.#loop(node, name, receiver, variable.args, bodies, scope)
    const types = (receiver ? [receiver, ...args] : args).map((arg) => this.infer(arg, scope))
    if (types.some(isNever)) return never
    const declared = Object.hasOwn(functions, name) ? functions[name] : undefined
    if (!declared || types.length < declared.min || types.length > declared.max) return anything
    // Of what may be anything little can be said, and that at the price of trying all of it; more than three arguments are
    // alike (`min`, `max` and `merge` take any number).
    const unknown = types.filter(({ kinds }) => kinds.size >= anyJson.kinds.size).length
    if (types.length > 3 || unknown === types.length || (types.length === 3 && unknown > 0)) return anything
    const kinds = resultsOf(name, types, declared.call)
    if (kinds.size === 0) return this.#fault(node, `${name}() does not take ${types.map(inWords).join(' and ')}`)
    const [first] = types
    if (givesParts.has(name)) return anything
    if (keepsItems.has(name)) return { kinds, items: first!.items }
    if (name === 'first' || name === 'last') return either(first!.items ?? anything, typeOf('null'))
    return { kinds }
  }

  /** Absent parts are an answer; only what the path begins with must be there. */
  #has(path: Node, scope: TypeScope): Type {
    let root = path
    while (root.op === '.') root = root.args[0]
    return isNever(this.infer(root, scope)) ? never : typeOf('bool')
  }

  #loop(node: Node, name: string, receiver: Node, variable: string, bodies: Node[], scope: TypeScope): Type {
    const source = this.infer(receiver, scope)
    if (isNever(source)) return never
    const over = only(source, 'list', 'map')
    if (isNever(over)) return this.#fault(node, `${inWords(source)} cannot be looped over`)
    const item = either(
      over.kinds.has('list') ? (source.items ?? anything) : never,
      over.kinds.has('map') ? typeOf('string') : never,
    )
    const inner = { ...scope, [variable]: item }
    const predicates = name === 'map' ? bodies.slice(0, -1) : name === 'sort_by' ? [] : bodies
    // An empty list asks nothing: what fails inside is told of, and leaves the loop as it is.
    for (const predicate of predicates) this.#condition(predicate, inner)
    if (name === 'filter') return listOf(item)
    if (name === 'map') return listOf(this.infer(bodies.at(-1)!, inner))
    if (name !== 'sort_by') return typeOf('bool')
    this.infer(bodies[0]!, inner)
    return listOf(item)
  }
}

function isLoop(name: string, bodies: number): boolean {
  if (name === 'map') return bodies === 1 || bodies === 2
  return bodies === 1 && ['all', 'exists', 'exists_one', 'filter', 'sort_by'].includes(name)
}

/** Functions whose list has the elements of the one that they are given, and those that give what is inside of it. */
const keepsItems = new Set(['slice', 'sort_by', 'reverse', 'unique'])
const givesParts = new Set(['get', 'min', 'max', 'parse_json'])

function binaryFault(op: BinaryOperator, left: Type, right: Type): string {
  if (op === 'in') return `'in' wants a list or a map on its right, not ${inWords(right)}`
  const hint = op === '+' && (left.kinds.has('string') || right.kinds.has('string')) ? '; string() makes text' : ''
  return `${inWords(left)} ${op} ${inWords(right)} is not defined${hint}`
}

function kindOfLiteral(raw: unknown): Kind {
  if (raw === null) return 'null'
  if (typeof raw === 'string') return 'string'
  return typeof raw === 'boolean' ? 'bool' : 'number'
}

/** Of each kind, values that every operator and function that takes the kind at all takes in some combination. */
const samples: { [kind in Kind]: Value[] } = {
  null: [null],
  bool: [true],
  number: [0, 1],
  string: ['1', 'true', '1h', 'UTC', 'asc', 'yyyy', '2026-01-01T00:00:00Z'],
  list: [[], [1]],
  map: [{}],
  timestamp: [new Timestamp(0)],
  duration: [new Duration(0)],
}

/** By name and the kinds of each argument, as bits: a hostile recipe asks for every set of kinds with every other. */
const known = new LruCache<ReadonlySet<Kind>>(5_000)
/** Of single kinds, which the sets are made of: there are no more of them than functions and kinds. */
const ofSingles = new Map<string, ReadonlySet<Kind>>()
const bits = Object.fromEntries(Object.keys(samples).map((kind, index) => [kind, 1 << index])) as {
  [kind in Kind]: number
}

function bitsOf(kinds: ReadonlySet<Kind>): number {
  let sum = 0
  for (const kind of kinds) sum |= bits[kind]
  return sum
}

/** The kinds of result that values of these types can have; none: they always fail. */
function resultsOf(
  name: string,
  types: readonly Type[],
  call: (args: Value[], budget: Budget) => Value,
): ReadonlySet<Kind> {
  return known.getOrMake(`${name} ${types.map((type) => bitsOf(type.kinds)).join(' ')}`, () => {
    const results = new Set<Kind>()
    for (const kinds of combinations(types.map((type) => [...type.kinds]))) {
      const key = `${name} ${kinds.join(' ')}`
      // Of one combination the same is asked again and again, as a part of others.
      let found = ofSingles.get(key)
      if (!found) ofSingles.set(key, (found = tried(kinds, call)))
      for (const kind of found) results.add(kind)
    }
    return results
  })
}

function tried(kinds: Kind[], call: (args: Value[], budget: Budget) => Value): ReadonlySet<Kind> {
  const results = new Set<Kind>()
  for (const args of combinations(kinds.map((kind) => samples[kind]))) {
    try {
      results.add(kindOf(call(args, new Budget())))
    } catch (error) {
      if (!(error instanceof LanguageError)) throw error
    }
  }
  return results
}

const combinations = <T>([first, ...rest]: readonly (readonly T[])[]): T[][] =>
  first ? first.flatMap((one) => combinations(rest).map((others) => [one, ...others])) : [[]]
