import type { Params, Result, Router } from 'hono/router'

interface Leaf<T> {
  handler: T
  /** Of the parameters, in the order of their segments. */
  names: string[]
}
interface Node<T> {
  fixed: Map<string, Node<T>>
  parameter: Node<T> | null
  leaf: Leaf<T> | null
}

const newNode = <T>(): Node<T> => ({ fixed: new Map(), parameter: null, leaf: null })

/**
 * A router for what our templates are made of: fixed segments and parameters that are whole segments. A fixed segment goes
 * before a parameter at its place; of equal templates the first counts. Hono's fastest router refuses tables in which
 * `/workspaces/current` stands beside `/workspaces/:workspace`, and the one it falls back to costs several times this walk.
 */
export class TemplateRouter<T> implements Router<T> {
  readonly name = 'TemplateRouter'
  readonly #roots = new Map<string, Node<T>>()

  add(method: string, path: string, handler: T): void {
    let node = this.#roots.get(method)
    if (!node) this.#roots.set(method, (node = newNode()))
    const names: string[] = []
    for (const segment of path.split('/').slice(1)) {
      if (/[*{}?]/.test(segment)) throw new Error(`${path} has a segment that is neither fixed nor a parameter.`)
      if (segment.startsWith(':')) {
        names.push(segment.slice(1))
        node = node.parameter ??= newNode()
      } else {
        let next = node.fixed.get(segment)
        if (!next) node.fixed.set(segment, (next = newNode()))
        node = next
      }
    }
    node.leaf ??= { handler, names }
  }

  match(method: string, path: string): Result<T> {
    const root = this.#roots.get(method)
    const values: string[] = []
    const leaf = root && find(root, path, 1, values)
    if (!leaf) return [[]]
    const params: Params = {}
    for (let i = 0; i < values.length; i++) params[leaf.names[i]!] = values[i]!
    return [[[leaf.handler, params]]]
  }
}

/** Follows the path from `start`, the index behind a slash; `values` has what the parameters on the way stand for. */
function find<T>(node: Node<T>, path: string, start: number, values: string[]): Leaf<T> | null {
  const slash = path.indexOf('/', start)
  const segment = slash === -1 ? path.slice(start) : path.slice(start, slash)
  const fixed = node.fixed.get(segment)
  if (fixed) {
    const leaf = slash === -1 ? fixed.leaf : find(fixed, path, slash + 1, values)
    if (leaf) return leaf
  }
  if (node.parameter === null || segment === '') return null
  values.push(segment)
  const leaf = slash === -1 ? node.parameter.leaf : find(node.parameter, path, slash + 1, values)
  if (!leaf) values.pop()
  return leaf
}
