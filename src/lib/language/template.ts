import {
  CaseTag,
  type Context,
  CycleTag,
  type Emitter,
  evalToken,
  type Filter,
  ForTag,
  LiquidError,
  Output,
  RawTag,
  TablerowTag,
  type Template,
  TokenKind,
  toValue,
  toValueSync,
  TypeGuards,
} from 'liquidjs'
import type { Json } from '../json.ts'
import { Budget } from './budget.ts'
import { BoundedEmitter, createContext, liquidEngine, maxTemplateLength, SecretTag, textOf } from './liquid.ts'
import { nodesOf, referencesOf } from './liquid-outline.ts'
import { chargeOf, weigh, weighCollection } from './liquid-weight.ts'
import { LruCache } from '../lru-cache.ts'
import { LanguageError, type Reference, type Scope } from './scope.ts'
import { rewriteSecrets } from './secret-syntax.ts'
import { toJson, type Value } from './values.ts'

/** Blocks inside each other. */
const maxNesting = 50
/** Outputs and tags, of which each takes as long to read as thousands of characters. */
const maxParts = 2_500

export type OnWarning = (message: string) => void

interface ParsedTemplate {
  templates: Template[]
  references: Reference[]
  secrets: string[]
  /** The template is one output and nothing else, so its value can keep its type. */
  single: { output: Output; charge: (context: Context) => void } | undefined
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
  if (partsOf(source) > maxParts) {
    throw new LanguageError(`The template has more than ${maxParts} outputs and tags.`)
  }
  assertNesting(source)
  const liquid = liquidEngine()
  const templates = liquid.parse(rewriteSecrets(source))
  const references = referencesOf(templates)
  const secrets: string[] = []
  const [only] = templates
  let single: ParsedTemplate['single']
  for (const template of nodesOf(templates)) {
    if (template instanceof SecretTag) secrets.push(template.ref)
    // Before the filters are added, which are no work of the template's own.
    const charge = meter(template)
    if (template instanceof Output) instrument(template)
    if (template instanceof Output && template === only && templates.length === 1) single = { output: template, charge }
  }
  return { templates, references, secrets, single }
}

/** How many outputs and tags a text may have. */
export function partsOf(source: string): number {
  let count = 0
  for (let at = source.indexOf('{'); at >= 0; at = source.indexOf('{', at + 1)) {
    const next = source[at + 1]
    if (next !== '{' && next !== '%') continue
    count += 1
    at += 1
  }
  return count
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

const warningRegister = 'warn'

/** Two filters round every output: the first sees that its value is absent, the last makes text of it. */
function instrument(output: Output): void {
  const name = output.token.content.split('|', 1)[0]!.trim()
  const { filters } = output.value
  const hasDefault = filters[0]?.name === 'default'
  filters.unshift(
    ownFilter('notice', (value, context) => {
      if (value === undefined && !hasDefault) warn(context, name)
      return value
    }),
  )
  filters.push(ownFilter(textFilter, weighedText))
}

const textFilter = 'text'

function weighedText(value: unknown, context: Context): string {
  if (typeof value === 'object') weigh(value, (units) => context.memoryLimit.use(units))
  const text = textOf(value)
  context.memoryLimit.use(text.length)
  return text
}

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

/** Counts each rendering of a node, as often as a loop repeats it. */
function meter(template: Template): (context: Context) => void {
  const charge = chargeOf(template, textSizeOf(template))
  const render =
    template instanceof CaseTag
      ? (context: Context, emitter: Emitter) => renderCase(template, context, emitter)
      : template instanceof CycleTag
        ? renderCycle.bind(null, template.render.bind(template))
        : template.render.bind(template)
  const collection = template instanceof ForTag || template instanceof TablerowTag ? template.collection : undefined
  template.render = (context, emitter) => {
    charge(context)
    if (collection && !TypeGuards.isRangeToken(collection)) weighCollection(collection, context)
    return render(context, emitter)
  }
  return charge
}

/** Plain text between the outputs. */
function textSizeOf(template: Template): number {
  if (template instanceof RawTag) return template.token.input.length
  return template.token.kind === TokenKind.HTML ? template.token.getText().length : 0
}

/** As the engine does it, but the comparisons are those that are counted. */
function* renderCase(tag: CaseTag, context: Context, emitter: Emitter): Generator<unknown, void, unknown> {
  const { renderer, options } = liquidEngine()
  const isEqual = options.operators['=='] as (left: unknown, right: unknown, context: Context) => unknown
  const target = toValue(yield tag.value.value(context))
  let hit = false
  for (const { values, templates } of tag.branches)
    for (const each of values)
      if (yield isEqual(target, yield evalToken(each, context), context)) {
        yield renderer.renderTemplates(templates, context, emitter)
        hit = true
        break
      }
  if (!hit) yield renderer.renderTemplates(tag.elseTemplates, context, emitter)
}

/** The engine gives what comes next to the emitter as it is. */
function* renderCycle(
  render: CycleTag['render'],
  context: Context,
  emitter: Emitter,
): Generator<unknown, string, unknown> {
  return weighedText(yield render(context, emitter), context)
}

/** The engine wraps it only where it renders nodes, not where a value is evaluated by itself. */
const isOverLimit = (error: unknown): boolean => error instanceof Error && /^memory alloc limit/i.test(error.message)

function asFault(error: unknown, source: string): LanguageError {
  if (error instanceof LanguageError) return error
  if (error instanceof RangeError) return new LanguageError('The template is nested too deeply.')
  if (isOverLimit(error)) return new LanguageError('The template does too much work.')
  if (!LiquidError.is(error)) throw error
  const cause: unknown = error.originalError
  if (cause instanceof LanguageError) return cause
  if (cause instanceof RangeError) return new LanguageError('The template is nested too deeply.')
  if (/\bsecret\s*\(/.test(source) && error.name !== 'RenderError') {
    return new LanguageError("secret() stands alone in its braces, with a literal name: {{ secret('slug.field') }}.")
  }
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
    const { initial, filters } = single.output.value
    single.charge(context)
    let value: unknown = toValueSync(initial.evaluate(context, false))
    for (const filter of filters) {
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
