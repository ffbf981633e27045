import { Environment, ParseError } from '@marcbachmann/cel-js'
import { LanguageError } from './scope.ts'

/**
 * The syntax tree of a CEL expression. The library parses; we evaluate (compile.ts), because its evaluator has
 * two kinds of numbers, which JSON has not, and cannot be interrupted.
 */
export type Node =
  | { op: 'value'; args: unknown; start: number; end: number }
  | { op: 'id'; args: string; start: number; end: number }
  | { op: '.'; args: [Node, string]; start: number; end: number }
  | { op: '[]'; args: [Node, Node]; start: number; end: number }
  | { op: 'call'; args: [string, Node[]]; start: number; end: number }
  | { op: 'rcall'; args: [string, Node, Node[]]; start: number; end: number }
  | { op: 'list'; args: Node[]; start: number; end: number }
  | { op: 'map'; args: [Node, Node][]; start: number; end: number }
  | { op: '?:'; args: [Node, Node, Node]; start: number; end: number }
  | { op: '||' | '&&' | BinaryOperator; args: [Node, Node]; start: number; end: number }
  | { op: '!_' | '-_'; args: Node; start: number; end: number }

export type BinaryOperator = '==' | '!=' | '<' | '<=' | '>' | '>=' | 'in' | '+' | '-' | '*' | '/' | '%'

/** Characters of an expression. What is longer belongs into a step of its own. */
const maxLength = 10_000

const parser = new Environment({
  unlistedVariablesAreDyn: true,
  homogeneousAggregateLiterals: false,
  limits: { maxAstNodes: 3000, maxDepth: 60, maxListElements: 1000, maxMapEntries: 500, maxCallArguments: 32 },
})

export function parseSource(source: string): Node {
  if (source.length > maxLength) {
    throw new LanguageError(`The expression has ${source.length} characters; ${maxLength} are allowed.`)
  }
  try {
    return asNode(parser.parse(source).ast)
  } catch (error) {
    // Prefix operators recurse without a limit of their own in the parser.
    if (error instanceof RangeError) throw new LanguageError('The expression is nested too deeply.')
    if (!(error instanceof ParseError)) throw error
    const at = error.range ? ` at character ${error.range.start + 1}` : ''
    throw new LanguageError(`${error.summary}${at}.`)
  }
}

/** The library types its tree as an opaque class; the union above is what its parser makes. */
function asNode(ast: unknown): Node {
  return ast as Node
}
