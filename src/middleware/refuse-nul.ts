import type { z } from '@hono/zod-openapi'
import { AppError, type Fault } from '../lib/errors.ts'
import { isKeptAsJson } from '../lib/kept-as-json.ts'
import type { Exchange } from './exchange.ts'

const detail = 'must not hold NUL characters'

/**
 * PostgreSQL's text takes no NUL, neither to store nor to compare with. What is looked at here is what goes into text: a
 * value inside a JSON value may hold one, as jsonb() escapes it.
 */
export function refuseNulInAddress({ request, params }: Exchange, query: unknown, faults: Fault[]): void {
  // An address carries it in this one form only.
  if (!request.url.includes('%00')) return
  for (const value of Object.values(params)) {
    if (value.includes('\0')) throw new AppError('not-found', 'Nothing has a name that holds NUL characters.')
  }
  for (const [name, value] of Object.entries(query ?? {})) {
    const values: unknown[] = Array.isArray(value) ? value : [value]
    if (values.some((one) => typeof one === 'string' && one.includes('\0'))) add(faults, `/query/${name}`)
  }
}

/** Looks at the fields of the body that are declared as texts. */
export function refuseNulInBody(schema: z.ZodType, body: unknown, faults: Fault[]): void {
  if (typeof body !== 'object' || body === null) return
  for (const name in body) {
    const value = (body as Record<string, unknown>)[name]
    if (typeof value === 'string' && value.includes('\0') && isTextIn(schema, name)) add(faults, `/${name}`)
  }
}

function add(faults: Fault[], pointer: string): void {
  if (!faults.some((fault) => fault.pointer === pointer)) faults.push({ pointer, detail })
}

type Def = z.core.$ZodTypeDef & Partial<Record<'innerType' | 'in' | 'out', z.ZodType>> & { options?: z.ZodType[] }
const defOf = (schema: z.ZodType) => schema._zod.def as Def

function isTextIn(schema: z.ZodType, name: string): boolean {
  const { type, innerType, in: before, out, options } = defOf(schema)
  if (type === 'object') {
    const field = (schema as z.ZodObject).shape[name] as z.ZodType | undefined
    return field !== undefined && isText(field)
  }
  return [innerType, before, out, ...(options ?? [])].some((inner) => inner !== undefined && isTextIn(inner, name))
}

function isText(schema: z.ZodType): boolean {
  const { type, innerType, in: before, out } = defOf(schema)
  if (isKeptAsJson(schema)) return false
  return type === 'string' || [innerType, before, out].some((inner) => inner !== undefined && isText(inner))
}
