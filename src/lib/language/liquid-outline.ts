import {
  CycleTag,
  ForTag,
  type PropertyAccessToken,
  type RangeToken,
  TablerowTag,
  type Template,
  type Token,
  toValueSync,
  TypeGuards,
  Value,
} from 'liquidjs'
import type { Reference } from './scope.ts'

type Argument = Value | Token

/** Every node of a template, those inside of tags too. */
export function nodesOf(templates: Template[]): Template[] {
  const nodes: Template[] = []
  const visit = (template: Template): void => {
    nodes.push(template)
    for (const child of childrenOf(template)) visit(child)
  }
  templates.forEach(visit)
  return nodes
}

const childrenOf = (template: Template): Template[] =>
  template.children ? (toValueSync(template.children(false, true)) as Template[]) : []

/**
 * The names of the scope that a template uses, each path once, as `analyze()` of the engine finds them. That one works out
 * line and column of each, by counting from the beginning: with thousands of them, seconds.
 */
export function referencesOf(templates: Template[]): Reference[] {
  const found = new Map<string, Map<string, Reference>>()
  const scopes: Set<string>[] = [new Set()]
  const add = (path: PropertyAccessToken): void => {
    const { keys, nested } = keysOf(path)
    const [root, ...rest] = keys
    if (typeof root === 'string' && !scopes.some((names) => names.has(root))) {
      const dynamic = rest.indexOf(null)
      const known = rest.slice(0, dynamic < 0 ? rest.length : dynamic).map(String)
      if (!found.has(root)) found.set(root, new Map())
      found.get(root)!.set(JSON.stringify(known), { root, path: known })
    }
    nested.forEach(add)
  }
  const visit = (template: Template): void => {
    for (const argument of template.arguments?.() ?? []) for (const token of operandsOf(argument)) pathsIn(token, add)
    for (const name of template.localScope?.() ?? []) scopes[0]!.add(name.content)
    const names = template.blockScope ? new Set(template.blockScope()) : null
    if (names) scopes.push(names)
    for (const child of childrenOf(template)) visit(child)
    if (names) scopes.pop()
  }
  templates.forEach(visit)
  return [...found.values()].flatMap((paths) => [...paths.values()])
}

/** The keys of a path, null where one is worked out; `nested` are the paths that it is worked out from. */
function keysOf(path: PropertyAccessToken): { keys: (string | number | null)[]; nested: PropertyAccessToken[] } {
  const [root, ...rest] = path.props
  // A path that begins with one in brackets goes on from there.
  const { keys, nested } =
    root && TypeGuards.isPropertyAccessToken(root) ? keysOf(root) : { keys: root ? keyOf(root) : [], nested: [] }
  for (const prop of rest) {
    if (!TypeGuards.isPropertyAccessToken(prop)) keys.push(...keyOf(prop))
    else {
      keys.push(null)
      nested.push(prop)
    }
  }
  return { keys, nested }
}

const keyOf = (token: Token): (string | number)[] =>
  TypeGuards.isQuotedToken(token) || TypeGuards.isNumberToken(token) || TypeGuards.isWordToken(token)
    ? [token.content]
    : []

/** What is evaluated for an argument of a tag or an output. */
function operandsOf(argument: Argument): Token[] {
  if (!(argument instanceof Value) && !TypeGuards.isFilteredValueToken(argument)) return [argument]
  const ofFilters = argument.filters.flatMap(({ args }) =>
    args.map((arg: unknown) => (Array.isArray(arg) ? arg[1] : arg)),
  )
  return [...argument.initial.postfix, ...ofFilters.filter((token) => token !== undefined)]
}

function pathsIn(token: Token, add: (path: PropertyAccessToken) => void): void {
  if (TypeGuards.isPropertyAccessToken(token)) add(token)
  else if (TypeGuards.isRangeToken(token)) for (const end of [token.lhs, token.rhs]) pathsIn(end, add)
}

/** How many tokens one rendering of a node evaluates at most, what is inside of it left out. */
export function evaluationsOf(template: Template): number {
  let count = 1
  for (const argument of template.arguments?.() ?? []) {
    if (argument instanceof Value || TypeGuards.isFilteredValueToken(argument)) count += argument.filters.length
    for (const token of operandsOf(argument)) count += partsOf(token)
  }
  return count
}

function partsOf(token: Token): number {
  if (TypeGuards.isRangeToken(token)) return partsOf(token.lhs) + partsOf(token.rhs)
  if (!TypeGuards.isPropertyAccessToken(token)) return 1
  return token.props.reduce((sum, prop) => sum + partsOf(prop), 1)
}

/** Ranges that a rendering of a node makes. */
export function rangesOf(template: Template): RangeToken[] {
  const ranges: RangeToken[] = []
  const visit = (token: Token | undefined): void => {
    if (token && TypeGuards.isRangeToken(token)) {
      ranges.push(token)
      visit(token.lhs)
      visit(token.rhs)
    } else if (token && TypeGuards.isPropertyAccessToken(token)) {
      visit(token.variable)
      token.props.forEach(visit)
    }
  }
  for (const argument of template.arguments?.() ?? []) operandsOf(argument).forEach(visit)
  return ranges
}

/** What a loop is told by numbers: `limit`, `offset` and `cols`. */
export function modifiersOf(template: Template): [string, Token][] {
  const hash = template instanceof ForTag ? template.hash : template instanceof TablerowTag ? template.args : undefined
  return Object.entries(hash?.hash ?? {}).flatMap(([name, token]) => (token ? [[name, token]] : []))
}

/** The name that a cycle has before its colon, of which the engine makes a text. */
export const groupOf = (template: Template): Token | undefined =>
  template instanceof CycleTag ? (template as unknown as { group?: Token }).group : undefined
