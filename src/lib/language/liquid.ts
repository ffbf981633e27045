import {
  Context,
  defaultOperators,
  Drop,
  type Emitter,
  Liquid,
  type Operators,
  Tag,
  type TagToken,
  toValue,
} from 'liquidjs'
import { LanguageError } from './scope.ts'
import { liquidFilters } from './liquid-filters.ts'
import { isCompound, useMembers } from './liquid-scalars.ts'
import { weigh } from './liquid-weight.ts'
import { secretPlaceholder } from './secrets.ts'
import { assertSecretRef } from './secret-syntax.ts'

/** Characters of a template. */
export const maxTemplateLength = 100_000
/** Characters of a rendered text. */
export const maxTextLength = 2_000_000
/** Nodes rendered, loops included. Counted, because a time limit would make the outcome depend on the machine. */
const maxRenders = 100_000
/** Characters and list elements that one rendering may touch. */
const maxMemory = 40_000_000

/** Tags that only compute. What reads files (include, render, layout, block) or re-parses (liquid, echo) is left out. */
const allowedTags = [
  'assign',
  'capture',
  'case',
  'comment',
  'cycle',
  'decrement',
  'for',
  'if',
  'increment',
  'raw',
  'tablerow',
  'unless',
  'break',
  'continue',
  '#',
]

/** `{% secret 'slug.field' %}`: what secret-syntax.ts writes. Its name is literal, so no data can choose a secret. */
export class SecretTag extends Tag {
  readonly ref: string

  constructor(token: TagToken, remainTokens: ConstructorParameters<typeof Tag>[1], liquid: Liquid) {
    super(token, remainTokens, liquid)
    this.ref = /^\s*'([^']*)'\s*$/.exec(token.args)?.[1] ?? ''
    assertSecretRef(this.ref)
  }

  render(_context: Context, emitter: Emitter): void {
    emitter.write(secretPlaceholder(this.ref))
  }
}

let engine: Liquid | undefined

export function liquidEngine(): Liquid {
  engine ??= createEngine()
  return engine
}

function createEngine(): Liquid {
  const liquid = new Liquid({
    strictFilters: true,
    strictVariables: false,
    ownPropertyOnly: true,
    parseLimit: maxTemplateLength,
    memoryLimit: maxMemory,
    timezoneOffset: 'UTC',
    locale: 'en-US',
    // An empty set of partials, so that nothing is ever looked up in a file system.
    templates: {},
    operators: meteredOperators(),
  })
  for (const name of Object.keys(liquid.tags)) if (!allowedTags.includes(name)) delete liquid.tags[name]
  for (const name of Object.keys(liquid.filters)) delete liquid.filters[name]
  for (const [name, filter] of Object.entries(liquidFilters)) liquid.registerFilter(name, filter)
  liquid.registerTag('secret', SecretTag)
  return liquid
}

/** Comparing lists and searching long texts is work that the engine does not count by itself. */
function meteredOperators(): Operators {
  const metered: Operators = { ...defaultOperators }
  for (const name of ['==', '!=', '<', '<=', '>', '>=', 'contains']) {
    const operator = defaultOperators[name]
    if (!operator) continue
    metered[name] = (left: unknown, right: unknown, context: Context) => {
      for (const side of [left, right]) context.memoryLimit.use(weightOf(side, context))
      if (left instanceof Drop || right instanceof Drop)
        for (const side of [left, right].flat()) useMembers(side, (units) => context.memoryLimit.use(units))
      // A text is searched at every place for all of the other one, at worst.
      if (name === 'contains' && typeof left === 'string' && typeof right === 'string')
        context.memoryLimit.use((left.length * right.length) / 50)
      return operator(left, right, context)
    }
  }
  return metered
}

/** How much work it is to compare a value: texts are fast, each element of a list is a comparison of its own. */
function weightOf(value: unknown, context: Context): number {
  if (typeof value === 'string') return value.length
  if (!Array.isArray(value)) return 1
  weigh(value, (units) => context.memoryLimit.use(units), 'text')
  return value.length * 100
}

/** What is looked up by a list is absent: the engine would make a text of the list each time. */
class CountedContext extends Context {
  override _get(paths: Parameters<Context['_get']>[0]): IterableIterator<unknown> {
    return super._get(isCompound(toValue(paths[0])) ? [''] : paths)
  }

  override readProperty(...[from, key]: Parameters<Context['readProperty']>): unknown {
    if (isCompound(toValue(key))) return undefined
    if (key === 'size') useMembers(from, (units) => this.memoryLimit.use(units))
    return super.readProperty(from, key)
  }

  override spawn(scope: object = {}): Context {
    const { sync, globals, strictVariables, ownPropertyOnly, memoryLimit, renderLimit, liquid } = this
    const options = { sync, globals, strictVariables, ownPropertyOnly }
    return new CountedContext(scope, this.opts, options, { memoryLimit, renderLimit, liquid })
  }
}

/** A rendering of its own: counted renders, and a scope without a prototype that assignments cannot reach. */
export function createContext(liquid: Liquid, scope: object): Context {
  let renders = 0
  const environment = Object.assign(Object.create(null), scope)
  return new CountedContext(
    environment,
    liquid.options,
    { sync: true },
    {
      liquid,
      renderLimit: asLimiter({
        check() {
          renders += 1
          if (renders > maxRenders) throw new LanguageError(`The template renders more than ${maxRenders} parts.`)
        },
        use() {},
      }),
    },
  )
}

type Limiter = Context['renderLimit']

/** The engine calls check() before every node with the time; ours counts the calls and ignores the time. */
function asLimiter(counter: { check(): void; use(): void }): Limiter {
  return counter as unknown as Limiter
}

/** Collects the text, and ends a rendering that grows too long. */
export class BoundedEmitter implements Emitter {
  buffer = ''

  write(part: unknown): void {
    this.buffer += textOf(part)
    if (this.buffer.length > maxTextLength) {
      throw new LanguageError(`The rendered text is longer than ${maxTextLength} characters.`)
    }
  }
}

/** How a value reads in a text: absent is empty, numbers plainly, lists and maps as JSON. */
export function textOf(value: unknown): string {
  if (typeof value === 'string') return value
  if (value === undefined || value === null) return ''
  if (typeof value !== 'object') return String(value)
  const plain = Object.getPrototypeOf(value) === Object.prototype || Object.getPrototypeOf(value) === null
  // The engine's own objects (forloop, empty) are no data.
  return Array.isArray(value) || plain ? JSON.stringify(value) : ''
}
