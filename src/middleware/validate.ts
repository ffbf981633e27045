import type { z } from '@hono/zod-openapi'
import { AppError, type Fault } from '../lib/errors.ts'
import { parseJsonBody } from '../lib/json-body.ts'
import type { Operation } from '../lib/operation.ts'
import { readBody } from './body-limit.ts'
import type { Exchange } from './exchange.ts'
import { wordingOf } from './issue-wording.ts'
import { refuseNulInAddress, refuseNulInBody } from './refuse-nul.ts'

export interface ValidInput {
  params: unknown
  query: unknown
  headers: unknown
  body: unknown
}

/** Checks everything before it complains, so that one answer names all faults. Synchronous unless there is a body. */
export function validate(operation: Operation, exchange: Exchange): ValidInput | Promise<ValidInput> {
  if (operation.body === undefined) return check(operation, exchange, undefined)
  return readBody(exchange, operation.maxBodyBytes ?? exchange.route.maxBodyBytes).then((bytes) =>
    check(operation, exchange, jsonOf(bytes, exchange)),
  )
}

function check(operation: Operation, exchange: Exchange, body: unknown): ValidInput {
  const faults: Fault[] = []
  const { request } = exchange
  const input: ValidInput = {
    params: operation.params && parse(operation.params, exchange.params, '/params', faults),
    query: operation.query && parse(operation.query, queryOf(request.url), '/query', faults),
    headers: operation.headers && parse(operation.headers, headersOf(exchange, operation.headers), '/headers', faults),
    body: undefined,
  }
  if (operation.body !== undefined) {
    if (body === noBody) {
      if (operation.bodyOptional) input.body = parse(operation.body, {}, '', faults)
      else faults.push({ pointer: '', detail: 'A JSON body is required.' })
    } else {
      input.body = parse(operation.body, body, '', faults)
      refuseNulInBody(operation.body, body, faults)
    }
  }
  refuseNulInAddress(exchange, input.query, faults)
  if (faults.length > 0) throw new AppError('invalid', summary(faults), { errors: faults })
  return input
}

const summary = (faults: Fault[]) =>
  faults.length === 1
    ? `${faults[0]!.pointer || 'The body'}: ${faults[0]!.detail}`
    : `${faults.length} values are invalid: ${faults.map((fault) => fault.pointer || '/').join(', ')}.`

function parse(schema: z.ZodType, value: unknown, prefix: string, faults: Fault[]): unknown {
  const result = schema.safeParse(value, { error: wordingOf })
  if (result.success) return result.data
  for (const issue of result.error.issues) {
    const pointer = prefix + issue.path.map((part) => `/${escape(String(part))}`).join('')
    if (issue.code === 'unrecognized_keys') {
      for (const key of issue.keys) faults.push({ pointer: `${pointer}/${escape(key)}`, detail: 'Unknown field.' })
    } else faults.push({ pointer, detail: issue.message })
  }
  return undefined
}

const escape = (part: string) => part.replaceAll('~', '~0').replaceAll('/', '~1')

/** A name that comes once is a string, one that repeats a list. */
function queryOf(url: string): Record<string, string | string[]> {
  const query: Record<string, string | string[]> = Object.create(null)
  const start = url.indexOf('?')
  if (start === -1) return query
  const end = url.indexOf('#', start)
  for (const [name, value] of new URLSearchParams(url.slice(start + 1, end === -1 ? undefined : end))) {
    const before = query[name]
    query[name] = before === undefined ? value : Array.isArray(before) ? [...before, value] : [before, value]
  }
  return query
}

function headersOf(exchange: Exchange, schema: z.ZodObject): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const name of Object.keys(schema.shape)) {
    const value = exchange.header(name)
    if (value !== null) headers[name] = value
  }
  return headers
}

const noBody = Symbol('no body')

function jsonOf(bytes: Uint8Array, exchange: Exchange): unknown {
  if (bytes.byteLength === 0) return noBody
  const contentType = exchange.header('content-type')
  if (contentType === null || !isJson(contentType)) {
    throw new AppError('unsupported-media-type', 'The body must be sent as application/json.')
  }
  return parseJsonBody(bytes)
}

function isJson(contentType: string): boolean {
  if (contentType === 'application/json') return true
  const [type = '', ...parameters] = contentType.toLowerCase().split(';')
  if (!/^application\/(?:[a-z0-9!#$&^_.-]+\+)?json$/.test(type.trim())) return false
  // JSON is UTF-8; anything else would be read as something that was not sent.
  const charset = parameters.map((parameter) => /^\s*charset="?([^"]+)"?\s*$/.exec(parameter)?.[1]).find(Boolean)
  return charset === undefined || charset === 'utf-8' || charset === 'utf8'
}
