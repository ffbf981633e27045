import { parseDuration } from '../../../lib/duration.ts'
import type { Fault } from '../../../lib/errors.ts'
import { faultOfSchema } from '../../../lib/json-schema.ts'
import { isObject, type Json } from '../../../lib/json.ts'
import { checkExpression } from '../../../lib/language/expression.ts'
import { parseInstant } from '../../../lib/language/instant.ts'
import type { Reference } from '../../../lib/language/scope.ts'
import { checkTemplate } from '../../../lib/language/template.ts'
import { checkTree } from '../../../lib/language/tree.ts'
import { pointerTo } from '../../../lib/pointer.ts'
import { faultsOfChoice } from '../../models/choice.ts'
import { isTool, toolNames } from '../../tools/registry.ts'
import { modelChoiceSchema } from '../definition.ts'
import type { Fields, StepPlace } from './outline.ts'

/** What the fields of one step say: their own faults, and what they refer to, for the checks that know the neighbours. */
export interface FieldReport {
  faults: Fault[]
  references: (Reference & { pointer: string })[]
}

const maxDurationMs = 366 * 86_400_000
export const hasTemplate = (text: string): boolean => text.includes('{{') || text.includes('{%')
const isExpression = (value: unknown): boolean =>
  isObject(value) && Object.keys(value).length === 1 && typeof value['$expr'] === 'string'

/** Reads texts, expressions and trees; collects faults and references. A value of the wrong type is left to the shape check. */
export class FieldReader implements FieldReport {
  readonly faults: Fault[] = []
  readonly references: (Reference & { pointer: string })[] = []

  /** `own` are names that this expression alone sees. */
  expression(value: unknown, pointer: string, own: readonly string[] = []): void {
    if (typeof value !== 'string' || value === '') return
    const { faults, references } = checkExpression(value)
    const foreign = references.filter(({ root }) => !own.includes(root))
    this.#collect(pointer, faults, foreign)
  }

  text(value: unknown, pointer: string, secrets: 'allowed' | 'refused' = 'refused'): void {
    if (typeof value !== 'string') return
    const checked = checkTemplate(value)
    this.#collect(pointer, checked.faults, checked.references)
    if (secrets === 'refused' && checked.secrets.length > 0) this.#secretFault(pointer)
  }

  tree(value: unknown, pointer: string, secrets: 'allowed' | 'refused' = 'refused'): void {
    if (value === undefined) return
    const checked = checkTree(value as Json, pointer)
    this.faults.push(...checked.faults)
    this.references.push(...checked.references)
    if (secrets === 'refused') for (const secret of checked.secrets) this.#secretFault(secret.pointer)
  }

  duration(value: unknown, pointer: string): void {
    if (typeof value !== 'string' || value === '') return
    const ms = parseDuration(value)
    if (ms === null) this.fault(pointer, 'must be a duration such as 30s, 5m or 1h30m')
    else if (ms === 0) this.fault(pointer, 'must be longer than nothing')
    else if (ms > maxDurationMs) this.fault(pointer, 'must be at most 366d')
  }

  schema(value: unknown, pointer: string): void {
    if (!isObject(value)) return
    const fault = faultOfSchema(value)
    if (fault) this.fault(pointer + fault.pointer, fault.detail)
  }

  fault(pointer: string, detail: string): void {
    this.faults.push({ pointer, detail })
  }

  #collect(pointer: string, faults: string[], references: Reference[]): void {
    for (const detail of faults) this.fault(pointer, detail)
    for (const reference of references) this.references.push({ ...reference, pointer })
  }

  #secretFault(pointer: string): void {
    this.fault(pointer, 'uses secret(), which only the query, headers and body of an http request may')
  }
}

/** Reads every field of a step but its nested lists. */
export function readStep({ fields, kind, pointer }: StepPlace): FieldReport {
  const reader = new FieldReader()
  const { when, retry, timeout } = fields
  reader.expression(when, `${pointer}/when`)
  reader.duration(timeout, `${pointer}/timeout`)
  if (isObject(retry)) {
    reader.duration(retry['backoff'], `${pointer}/retry/backoff`)
    reader.duration(retry['max_delay'], `${pointer}/retry/max_delay`)
    if (fields['once'] === true && typeof retry['max_attempts'] === 'number' && retry['max_attempts'] > 1) {
      reader.fault(`${pointer}/once`, 'cannot go with a retry of more than one attempt')
    }
  }
  if (typeof kind === 'string' && Object.hasOwn(readers, kind)) readers[kind]!(reader, fields, pointer)
  return reader
}

const readers: Record<string, (reader: FieldReader, fields: Fields, pointer: string) => void> = {
  agent: readModelStep,
  llm: readModelStep,
  transform(reader, fields, pointer) {
    reader.tree(fields['value'], `${pointer}/value`)
  },
  fail(reader, fields, pointer) {
    reader.text(fields['message'], `${pointer}/message`)
  },
  branch(reader, fields, pointer) {
    if (!Array.isArray(fields['cases'])) return
    for (const [index, item] of fields['cases'].entries()) {
      if (isObject(item)) reader.expression(item['when'], `${pointer}/cases/${index}/when`)
    }
  },
  foreach(reader, fields, pointer) {
    readList(reader, fields['items'], `${pointer}/items`)
  },
  http: readHttpStep,
  wait: readWaitStep,
  approval(reader, fields, pointer) {
    reader.text(fields['message'], `${pointer}/message`)
    reader.tree(fields['payload'], `${pointer}/payload`)
    reader.schema(fields['payload_schema'], `${pointer}/payload_schema`)
    readTimeoutOutcome(reader, fields, pointer)
  },
  tool(reader, fields, pointer) {
    const { tool } = fields
    if (typeof tool === 'string' && tool !== '' && !isTool(tool))
      reader.fault(`${pointer}/tool`, `there is no such tool: use ${toolNames.join(', ')}`)
    readObject(reader, fields['arguments'], `${pointer}/arguments`)
  },
  recipe(reader, fields, pointer) {
    readObject(reader, fields['input'], `${pointer}/input`)
  },
  notify: readNotice,
}

/** A value that must come to an object: one written out, or whatever an expression or a template gives. */
function readObject(reader: FieldReader, value: unknown, pointer: string): void {
  if (value === undefined) return
  if (isObject(value) || (typeof value === 'string' && hasTemplate(value))) reader.tree(value, pointer)
  else reader.fault(pointer, 'must be an object, a template or {"$expr": "…"}')
}

function readList(reader: FieldReader, value: unknown, pointer: string): void {
  const isList = Array.isArray(value) || isExpression(value) || (typeof value === 'string' && hasTemplate(value))
  if (value !== undefined && !isList) reader.fault(pointer, 'must be a list or {"$expr": "…"}')
  else reader.tree(value, pointer)
}

function readTimeoutOutcome(reader: FieldReader, fields: Fields, pointer: string): void {
  if (fields['on_timeout'] !== undefined && fields['timeout'] === undefined)
    reader.fault(`${pointer}/on_timeout`, 'needs a timeout')
}

/** A notify step, or a notice of `settings.on_failure`. */
export function readNotice(reader: FieldReader, fields: Fields, pointer: string): void {
  const channels = ['log', 'webhook', 'email'].filter((channel) => fields[channel] !== undefined)
  if (channels.length !== 1) reader.fault(pointer, 'needs exactly one of log, webhook and email')
  reader.text(fields['message'], `${pointer}/message`)
  reader.tree(fields['data'], `${pointer}/data`)
  const { webhook, email } = fields
  if (isObject(webhook)) readUrl(reader, webhook['url'], `${pointer}/webhook/url`)
  if (!isObject(email)) return
  reader.text(email['subject'], `${pointer}/email/subject`)
  if (!Array.isArray(email['to'])) return
  for (const [index, address] of email['to'].entries()) reader.text(address, `${pointer}/email/to/${index}`)
}

function readModelStep(reader: FieldReader, fields: Fields, pointer: string): void {
  reader.text(fields['prompt'], `${pointer}/prompt`)
  readSystemText(reader, fields['system'], `${pointer}/system`)
  // What is no choice at all is left to the shape check.
  const { data: model } = modelChoiceSchema.safeParse(fields['model'])
  if (model) reader.faults.push(...faultsOfChoice(model, `${pointer}/model`))
  reader.tree(fields['context'], `${pointer}/context`)
  readList(reader, fields['attachments'], `${pointer}/attachments`)
  reader.schema(fields['output_schema'], `${pointer}/output_schema`)
}

/** Inputs, trigger payloads and results of steps come from outside: as system text they could give orders. */
function readSystemText(reader: FieldReader, value: unknown, pointer: string): void {
  const before = reader.references.length
  reader.text(value, pointer)
  const foreign = reader.references.slice(before).find(({ root }) => root !== 'run' && root !== 'now')
  if (foreign) reader.fault(pointer, `may refer to run and now only; give ${foreign.root} as context or in the prompt`)
}

function readWaitStep(reader: FieldReader, fields: Fields, pointer: string): void {
  const { duration, until, event, match } = fields
  if ([duration, until, event].filter((end) => end !== undefined).length !== 1)
    reader.fault(pointer, 'needs exactly one of duration, until and event')
  for (const field of ['match', 'on_timeout'])
    if (fields[field] !== undefined && event === undefined) reader.fault(`${pointer}/${field}`, 'needs an event')
  if (event !== undefined) readTimeoutOutcome(reader, fields, pointer)
  if (isExpression(match)) reader.expression((match as Fields)['$expr'], `${pointer}/match/$expr`, ['event'])
  else reader.tree(match, `${pointer}/match`)
  if (typeof duration === 'string' && hasTemplate(duration)) reader.text(duration, `${pointer}/duration`)
  else reader.duration(duration, `${pointer}/duration`)
  if (until === undefined) return
  if (isExpression(until) || (typeof until === 'string' && hasTemplate(until))) reader.tree(until, `${pointer}/until`)
  else if (typeof until !== 'string' || parseInstant(until) === null) {
    reader.fault(`${pointer}/until`, 'must be a time such as 2026-01-31T08:30:00Z, a template or {"$expr": "…"}')
  }
}

/** Written by the transport; a recipe that sets them could desynchronise the connection. */
const transportHeaders = new Set([
  'host',
  'connection',
  'content-length',
  'transfer-encoding',
  'upgrade',
  'te',
  'trailer',
])

function readHttpStep(reader: FieldReader, fields: Fields, pointer: string): void {
  const { request } = fields
  if (!isObject(request)) return
  const at = `${pointer}/request`
  readUrl(reader, request['url'], `${at}/url`)
  for (const group of ['headers', 'query'] as const) {
    if (!isObject(request[group])) continue
    for (const [name, value] of Object.entries(request[group])) {
      const place = pointerTo(`${at}/${group}`, name)
      if (group === 'headers' && transportHeaders.has(name.toLowerCase()))
        reader.fault(place, 'is set by the transport')
      const isScalar = value === null || typeof value !== 'object' || isExpression(value)
      if (!isScalar && !(group === 'query' && Array.isArray(value))) {
        reader.fault(
          place,
          `must be a text, a number, true or false${group === 'query' ? ', a list' : ''} or {"$expr": "…"}`,
        )
      }
      reader.tree(value, place, 'allowed')
    }
  }
  if (request['body'] !== undefined && (request['method'] === 'GET' || request['method'] === 'HEAD')) {
    reader.fault(`${at}/body`, `cannot go with ${request['method']}`)
  }
  reader.tree(request['body'], `${at}/body`, 'allowed')
}

/** Where the query begins: at the first question mark outside of the braces. */
function queryOf(url: string): number {
  const mark = /\?|\{[{%]/g
  for (let found = mark.exec(url); found; found = mark.exec(url)) {
    if (found[0] === '?') return found.index
    const end = url.indexOf(found[0] === '{{' ? '}}' : '%}', mark.lastIndex)
    // Nothing closes what has been opened: that is a fault of its own.
    if (end < 0) return -1
    mark.lastIndex = end + 2
  }
  return -1
}

function readUrl(reader: FieldReader, url: unknown, pointer: string): void {
  if (typeof url !== 'string' || url === '') return
  reader.text(url, pointer, 'allowed')
  if (!hasTemplate(url)) {
    if (!/^https?:\/\//i.test(url) || !URL.canParse(url)) reader.fault(pointer, 'must be an absolute http or https URL')
    return
  }
  // A secret in the host or the path would reach logs and redirects.
  const query = queryOf(url)
  const beforeQuery = query < 0 ? url : url.slice(0, query)
  if (/\bsecret\s*\(/.test(beforeQuery)) reader.fault(pointer, 'may use secret() in its query only')
}
