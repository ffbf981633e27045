import type { Kind } from './values.ts'

/** What is known of a value before it is there: the kinds that it may have, and what is inside of it. */
export interface Type {
  readonly kinds: ReadonlySet<Kind>
  /** Of a list; absent: anything. */
  readonly items?: Type | undefined
  /** Of a map; a member that is not named here may be anything, or cannot be there where the map is closed. */
  readonly members?: { readonly [name: string]: Type } | undefined
  readonly closed?: boolean | undefined
  /** Members of a closed map that may be there and that nobody is told of. */
  readonly unlisted?: { readonly [name: string]: Type } | undefined
}

export const typeOf = (...kinds: Kind[]): Type => ({ kinds: new Set(kinds) })

/** Whatever an expression can compute with. */
export const anything = typeOf('null', 'bool', 'number', 'string', 'list', 'map', 'timestamp', 'duration')
/** Whatever comes from outside. */
export const anyJson = typeOf('null', 'bool', 'number', 'string', 'list', 'map')
/** The value of what always fails. */
export const never = typeOf()

export const isNever = ({ kinds }: Type): boolean => kinds.size === 0

export const listOf = (items: Type): Type => ({ ...typeOf('list'), items })
export const mapOf = (members: { [name: string]: Type }, closed = false): Type => ({
  ...typeOf('map'),
  members,
  closed,
})

/** What one or the other is. Of two lists, or two maps, that are not the same nothing inside is known. */
export function either(a: Type, b: Type): Type {
  if (a === b || isNever(b)) return a
  if (isNever(a)) return b
  const list = inside(a, b, 'list')
  const map = inside(a, b, 'map')
  return {
    kinds: new Set([...a.kinds, ...b.kinds]),
    items: list?.items,
    members: map?.members,
    closed: map?.closed,
    unlisted: map?.unlisted,
  }
}

/** The one of the two that says what is inside. */
function inside(a: Type, b: Type, kind: Kind): Type | null {
  if (!a.kinds.has(kind)) return b
  if (!b.kinds.has(kind)) return a
  return null
}

/** What `type` is where it is one of these kinds. */
export const only = (type: Type, ...kinds: Kind[]): Type => ({
  ...type,
  kinds: new Set(kinds.filter((kind) => type.kinds.has(kind))),
})

const words: { [kind in Kind]: string } = {
  null: 'null',
  bool: 'true or false',
  number: 'a number',
  string: 'a text',
  list: 'a list',
  map: 'a map',
  timestamp: 'a timestamp',
  duration: 'a duration',
}

/** For people: `a text, a number or null`. */
export function inWords({ kinds }: Type): string {
  const named = [...kinds].map((kind) => words[kind])
  return named.length < 2 ? (named[0] ?? 'nothing') : `${named.slice(0, -1).join(', ')} or ${named.at(-1)}`
}
