import { join, relative } from 'node:path'
import { parseAst } from 'rolldown/parseAst'
import { packageRoot } from '../../runtime/node/package-root.ts'

/** What an operation and a group say for people alone, and what stands there instead. */
const told: Record<string, string> = { summary: "''", description: "''", bodyExample: 'null', responses: '{}' }

interface Node {
  type: string
  start: number
  end: number
}
type Tree = Node & Record<string, unknown>
interface Cut {
  start: number
  end: number
  text: string
}

/**
 * A module of routes or schemas without what only the OpenAPI document is made of: texts, examples and the shapes of
 * answers. What a server is started with serves the document as a file, so that it need not carry and build its parts: a
 * tenth of the Worker, and of the time until a process answers. Schemas at the top of a module become droppable where
 * nothing else uses them; a bundler cannot know by itself that making one has no effect.
 */
export function withoutDocs(source: string, file: string): string {
  const cuts: Cut[] = []
  const program = parseAst(source, { lang: 'ts' }, file) as unknown as Tree
  for (const statement of program['body'] as Tree[]) markDroppable(statement, cuts)
  visit(program, cuts)
  return applied(source, cuts)
}

function visit(node: Tree, cuts: Cut[]): void {
  if (node.type === 'CallExpression') cutFromCall(node, cuts)
  if (node.type === 'ObjectExpression' && property(node, 'operations')) cutProperties(node, cuts)
  for (const value of Object.values(node)) {
    for (const child of Array.isArray(value) ? value : [value]) if (isNode(child)) visit(child, cuts)
  }
}

function cutFromCall(call: Tree, cuts: Cut[]): void {
  const callee = call['callee'] as Tree
  if (callee.type === 'MemberExpression' && nameOf(callee['property'] as Tree) === 'openapi') {
    cuts.push({ start: (callee['object'] as Tree).end, end: call.end, text: '' })
  }
  if (callee.type === 'Identifier' && callee['name'] === 'operation') {
    const [spec] = call['arguments'] as Tree[]
    if (spec?.type === 'ObjectExpression') cutProperties(spec, cuts)
  }
}

function cutProperties(object: Tree, cuts: Cut[]): void {
  for (const entry of object['properties'] as Tree[]) {
    if (entry.type !== 'Property' || entry['shorthand'] === true) continue
    const name = nameOf(entry['key'] as Tree)
    const value = entry['value'] as Tree
    if (name !== undefined && Object.hasOwn(told, name)) cuts.push({ ...spanOf(value), text: told[name]! })
  }
}

/** `const X = z.object(…)` becomes a call that is known to have no effect. */
function markDroppable(statement: Tree, cuts: Cut[]): void {
  const declaration = (
    statement.type === 'ExportNamedDeclaration' ? statement['declaration'] : statement
  ) as Tree | null
  if (declaration?.type !== 'VariableDeclaration') return
  for (const { init } of declaration['declarations'] as { init: Tree | null }[]) {
    if (init?.type !== 'CallExpression' && init?.type !== 'ObjectExpression') continue
    cuts.push({ start: init.start, end: init.start, text: '/* @__PURE__ */ (() => (' })
    cuts.push({ start: init.end, end: init.end, text: '))()' })
  }
}

/** A cut inside another one is gone with it. Lines keep their numbers, for stacks. */
function applied(source: string, cuts: Cut[]): string {
  let out = ''
  let at = 0
  for (const cut of cuts.toSorted((a, b) => a.start - b.start || b.end - a.end)) {
    if (cut.start < at) continue
    const lines = source.slice(cut.start, cut.end).split('\n').length - 1
    out += source.slice(at, cut.start) + cut.text + '\n'.repeat(lines)
    at = cut.end
  }
  return out + source.slice(at)
}

const property = (object: Tree, name: string) =>
  (object['properties'] as Tree[]).find((entry) => entry.type === 'Property' && nameOf(entry['key'] as Tree) === name)
const nameOf = (key: Tree): string | undefined => (key.type === 'Identifier' ? (key['name'] as string) : undefined)
const spanOf = ({ start, end }: Node) => ({ start, end })
const isNode = (value: unknown): value is Tree => typeof (value as Node | null)?.type === 'string'

/** Whether a file of ours declares anything for the document. */
export function hasDocs(file: string, source: string): boolean {
  const path = relative(packageRoot, file)
  return path.startsWith('src/routes/') || (path.startsWith('src/') && source.includes('.openapi('))
}

/** What the build puts in place of what makes the document: by what a module asks for. */
export const docsStandIns: Record<string, string> = {
  '@hono/zod-openapi': join(packageRoot, 'src/runtime/plain-zod.ts'),
  '../lib/openapi/served-document.ts': join(packageRoot, 'src/runtime/shipped-document.ts'),
}
