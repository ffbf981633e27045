import type { ParamIndexMap, Result, Router } from 'hono/router'
import { getPath } from 'hono/utils/url'

/** The handler, with the place of each parameter among the values that its segments stand for. */
type Leaf<T> = [[T, ParamIndexMap]]

/** What templates have in common up to one place: no two children begin with the same character. */
interface Node<T> {
  text: string
  children: Node<T>[]
  parameter: Node<T> | null
  leaf: Leaf<T> | null
}

const newNode = <T>(text: string): Node<T> => ({ text, children: [], parameter: null, leaf: null })

/** The path that is looked for: decoded where it can be, and the same with and without a slash at its end. */
export function routedPath(request: Request): string {
  const { url } = request
  let path
  if (url.includes('%') || url.includes('#')) path = getPath(request)
  else {
    const start = url.indexOf('/', url.indexOf(':') + 3)
    const query = url.indexOf('?', start)
    path = query === -1 ? url.slice(start) : url.slice(start, query)
  }
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path
}

/**
 * A router for what our templates are made of: fixed segments and parameters that are whole segments. A fixed segment goes
 * before a parameter at its place; of equal templates the first counts. Hono's fastest router refuses tables in which
 * `/workspaces/current` stands beside `/workspaces/:workspace`, and the one it falls back to costs several times this walk
 * along a radix tree, which cuts nothing out of the path but the parameters.
 */
export class TemplateRouter<T> implements Router<T> {
  readonly name = 'TemplateRouter'
  readonly #roots = new Map<string, Node<T>>()

  add(method: string, path: string, handler: T): void {
    let node = this.#roots.get(method)
    if (!node) this.#roots.set(method, (node = newNode('')))
    const names: string[] = []
    let fixed = ''
    for (const segment of path.split('/').slice(1)) {
      if (/[*{}?]/.test(segment)) throw new Error(`${path} has a segment that is neither fixed nor a parameter.`)
      if (segment.startsWith(':')) {
        names.push(segment.slice(1))
        node = descend(node, `${fixed}/`)
        node = node.parameter ??= newNode('')
        fixed = ''
      } else fixed += `/${segment}`
    }
    descend(node, fixed).leaf ??= [[handler, Object.fromEntries(names.map((name, place) => [name, place]))]]
  }

  match(method: string, path: string): Result<T> {
    const root = this.#roots.get(method)
    const values: string[] = []
    const leaf = root && find(root, path, 0, values)
    return leaf ? [leaf, values] : [[]]
  }
}

/** The node that stands `text` behind `node`; nodes on the way are made, or cut in two where only their beginning fits. */
function descend<T>(node: Node<T>, text: string): Node<T> {
  if (text === '') return node
  const at = node.children.findIndex((child) => child.text[0] === text[0])
  if (at === -1) {
    const child = newNode<T>(text)
    node.children.push(child)
    return child
  }
  let child = node.children[at]!
  let shared = 1
  while (shared < child.text.length && child.text[shared] === text[shared]) shared++
  if (shared < child.text.length) {
    const upper = newNode<T>(child.text.slice(0, shared))
    upper.children.push(child)
    child.text = child.text.slice(shared)
    node.children[at] = child = upper
  }
  return descend(child, text.slice(shared))
}

/** Follows the path from `at`, up to which `node` stands for it; `values` has what the parameters on the way stand for. */
function find<T>(node: Node<T>, path: string, at: number, values: string[]): Leaf<T> | null {
  if (at === path.length) return node.leaf
  const code = path.charCodeAt(at)
  const { children } = node
  for (let i = 0; i < children.length; i++) {
    const { text } = children[i]!
    if (text.charCodeAt(0) !== code) continue
    const leaf = path.startsWith(text, at) ? find(children[i]!, path, at + text.length, values) : null
    if (leaf) return leaf
    break
  }
  if (node.parameter === null || code === 47) return null
  const slash = path.indexOf('/', at)
  const end = slash === -1 ? path.length : slash
  values.push(path.slice(at, end))
  const leaf = find(node.parameter, path, end, values)
  if (!leaf) values.pop()
  return leaf
}
