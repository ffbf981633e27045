import {
  type Context,
  type Filter,
  type Liquid,
  LiquidError,
  Output,
  RawTag,
  type Template,
  TokenKind,
  toValueSync,
} from 'liquidjs'
import type { Json } from '../json.ts'
import { Budget } from './budget.ts'
import { BoundedEmitter, createContext, liquidEngine, maxTemplateLength, SecretTag, textOf } from './liquid.ts'
import { LruCache } from '../lru-cache.ts'
import { LanguageError, type Reference, type Scope } from './scope.ts'
import { rewriteSecrets } from './secret-syntax.ts'
import { toJson, type Value } from './values.ts'

/** Blocks inside each other. */
const maxNesting = 50

export type OnWarning = (message: string) => void

interface ParsedTemplate {
  templates: Template[]
  references: Reference[]
  secrets: string[]
  /** The template is one output and nothing else, so its value can keep its type. */
  single: Output | undefined
}

const parsed = new LruCache<ParsedTemplate | LanguageError>(500)

function templateOf(source: string): ParsedTemplate {
  const known = parsed.getOrMake(source, () => {
    try {
      return parseTemplate(source)
    } catch (error) {
      return asFault(error, source)
    }
  })
  if (known instanceof LanguageError) throw new LanguageError(known.message)
  return known
}

function parseTemplate(source: string): ParsedTemplate {
  if (source.length > maxTemplateLength) {
    throw new LanguageError(`The template has ${source.length} characters; ${maxTemplateLength} are allowed.`)
  }
  assertNesting(source)
  const liquid = liquidEngine()
  const templates = liquid.parse(rewriteSecrets(source))
  const references = referencesOf(liquid, templates)
  const secrets: string[] = []
  for (const template of nodesOf(templates)) {
    if (template instanceof SecretTag) secrets.push(template.ref)
    else if (template instanceof Output) instrument(template)
    else meter(template)
  }
  const [only] = templates
  return { templates, references, secrets, single: templates.length === 1 && only instanceof Output ? only : undefined }
}

/** The engine recurses into blocks; counted first, so the outcome does not hang on the size of a stack. */
function assertNesting(source: string): void {
  let depth = 0
  for (const [, end] of source.matchAll(/\{%-?\s*(end)?(?:if|unless|for|case|tablerow|capture)\b/g)) {
    depth += end ? -1 : 1
    if (depth > maxNesting)
      throw new LanguageError(`The template has more than ${maxNesting} blocks inside each other.`)
  }
}

function referencesOf(liquid: Liquid, templates: Template[]): Reference[] {
  const { globals } = liquid.analyzeSync(templates, { partials: false })
  return Object.values(globals)
    .flat()
    .map((variable) => {
      const [root, ...path] = variable.toArray()
      const dynamic = path.findIndex(Array.isArray)
      return { root: String(root), path: path.slice(0, dynamic < 0 ? path.length : dynamic).map(String) }
    })
}

/** Every node of a template, those inside of tags too. */
function nodesOf(templates: Template[]): Template[] {
  return templates.flatMap((template) => {
    const children = template.children ? (toValueSync(template.children(false, true)) as Template[]) : []
    return [template, ...nodesOf(children)]
  })
}

const warningRegister = 'warn'

/** Two filters round every output: the first sees that its value is absent, the last makes text of it. */
function instrument(output: Output): void {
  const name =
    output.token
      .getText()
      .replace(/^\{\{-?\s*|\s*-?\}\}$/g, '')
      .split('|')[0]
      ?.trim() ?? ''
  const { filters } = output.value
  const hasDefault = filters[0]?.name === 'default'
  filters.unshift(
    ownFilter('notice', (value, context) => {
      if (value === undefined && !hasDefault) warn(context, name)
      return value
    }),
  )
  filters.push(
    ownFilter(textFilter, (value, context) => {
      const text = textOf(value)
      context.memoryLimit.use(text.length)
      return text
    }),
  )
}

const textFilter = 'text'

function warn(context: Context, name: string): void {
  const report = context.getRegister<OnWarning | undefined>(warningRegister)
  if (report) report(`${name.slice(0, 100)} is absent and rendered as nothing.`)
}

/** The engine asks of a filter no more than this; its class wants a token of the source, which ours have not. */
function ownFilter(name: string, apply: (value: unknown, context: Context) => unknown): Filter {
  const filter = {
    name,
    args: [],
    raw: false,
    render(value: unknown, context: Context) {
      return apply(value, context)
    },
  }
  return filter as unknown as Filter
}

/** Plain text between the outputs counts as often as a loop repeats it. */
function meter(template: Template): void {
  const isText = template.token.kind === TokenKind.HTML || template instanceof RawTag
  if (!isText) return
  const render = template.render.bind(template)
  const size = template instanceof RawTag ? template.token.input.length : template.token.getText().length
  template.render = (context, emitter) => {
    context.memoryLimit.use(size)
    return render(context, emitter)
  }
}

function asFault(error: unknown, source: string): LanguageError {
  if (error instanceof LanguageError) return error
  if (error instanceof RangeError) return new LanguageError('The template is nested too deeply.')
  if (!LiquidError.is(error)) throw error
  const cause: unknown = error.originalError
  if (cause instanceof LanguageError) return cause
  if (cause instanceof RangeError) return new LanguageError('The template is nested too deeply.')
  if (/\bsecret\s*\(/.test(source) && error.name !== 'RenderError') {
    return new LanguageError("secret() stands alone in its braces, with a literal name: {{ secret('slug.field') }}.")
  }
  if (/^memory alloc limit/i.test(error.message)) return new LanguageError('The template does too much work.')
  const message = error.message.split('\n')[0] ?? ''
  return new LanguageError(`${message.charAt(0).toUpperCase()}${message.slice(1, 300)}.`)
}

/** Each absent name is reported once a rendering. */
function once(onWarning: OnWarning | undefined): OnWarning | undefined {
  if (!onWarning) return undefined
  const seen = new Set<string>()
  return (message) => {
    if (seen.has(message)) return
    seen.add(message)
    onWarning(message)
  }
}

function contextFor(scope: Scope, onWarning: OnWarning | undefined): Context {
  const context = createContext(liquidEngine(), scope)
  context.setRegister(warningRegister, once(onWarning))
  return context
}

/** The text of a Liquid template over a scope. */
export function renderText(source: string, scope: Scope, onWarning?: OnWarning): string {
  if (!isTemplate(source)) return source
  const { templates } = templateOf(source)
  const emitter = new BoundedEmitter()
  try {
    toValueSync(liquidEngine().renderer.renderTemplates(templates, contextFor(scope, onWarning), emitter))
    return emitter.buffer
  } catch (error) {
    throw asFault(error, source)
  }
}

/** As renderText, but a template that is exactly one `{{ x }}` keeps the type of its value; absent is null. */
export function renderValue(source: string, scope: Scope, onWarning?: OnWarning): Json {
  if (!isTemplate(source)) return source
  const { single } = templateOf(source)
  if (!single) return renderText(source, scope, onWarning)
  const context = contextFor(scope, onWarning)
  try {
    let value: unknown = toValueSync(single.value.initial.evaluate(context, false))
    for (const filter of single.value.filters) {
      if (filter.name !== textFilter) value = toValueSync(filter.render(value, context))
    }
    return toJson((value ?? null) as Value, new Budget())
  } catch (error) {
    throw asFault(error, source)
  }
}

/** Text without braces is itself; most leaves of a tree are. */
function isTemplate(source: string): boolean {
  return source.includes('{{') || source.includes('{%')
}

/** Every fault that can be seen without a scope, the scope names that the template uses, and its secrets. */
export function checkTemplate(source: string): { faults: string[]; references: Reference[]; secrets: string[] } {
  if (!isTemplate(source)) return { faults: [], references: [], secrets: [] }
  try {
    const { references, secrets } = templateOf(source)
    return {
      faults: [],
      references: references.map(({ root, path }) => ({ root, path: [...path] })),
      secrets: [...new Set(secrets)],
    }
  } catch (error) {
    if (error instanceof LanguageError) return { faults: [error.message], references: [], secrets: [] }
    throw error
  }
}
