import fc from 'fast-check'
import { ofPlace, propertiesOf, texts, type Case } from './hostile.ts'
import { fill, resolve, type Schema, type WalkedOperation } from './operations.ts'

type Values = Readonly<Record<string, string>>
/** What one operation needs for a request: of the caller's own workspace, and of another one. */
export interface Given {
  own: { values: Values; body: unknown }
  other: { values: Values; body: unknown; workspaceId: string }
}
type Json = null | boolean | number | string | Json[] | { [name: string]: Json }
type Change = [at: number, how: 'replace' | 'remove' | 'wrap' | 'add', name: string, value: Json]

/** A request of any kind to one operation: near to one that works, or far from it. */
export function randomCase(operation: WalkedOperation, { own, other }: Given): fc.Arbitrary<Case> {
  const { path, names, parameters, json, raw } = operation
  const foreign = [...Object.values(other.values), other.workspaceId]
  const text = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(...texts) },
    { weight: 3, arbitrary: fc.constantFrom(...foreign) },
    { weight: 2, arbitrary: fc.string({ unit: 'binary', maxLength: 40 }) },
  )
  const values = fc.record(
    Object.fromEntries(
      names.map((name) => [
        name,
        fc.oneof(
          { weight: 6, arbitrary: fc.constant(own.values[name]!) },
          { weight: 3, arbitrary: fc.constant(other.values[name]!) },
          { weight: 2, arbitrary: text },
        ),
      ]),
    ),
  )
  const query = fc.record(
    Object.fromEntries(ofPlace(parameters, 'query').map(({ name, schema }) => [name, valueOf(schema, text)])),
    { requiredKeys: [] },
  )
  const headers = fc.record(
    {
      ...Object.fromEntries(
        ofPlace(parameters, 'header')
          .filter(({ name }) => name.toLowerCase() !== 'prefer')
          .map(({ name }) => [name.toLowerCase(), text.map(asHeader)]),
      ),
      'x-workspace-id': fc.constant(other.workspaceId),
      'last-event-id': text.map(asHeader),
    },
    { requiredKeys: [] },
  )
  const fields = json ? propertiesOf(json.schema).map(([name]) => name) : []
  const value = fc.oneof(
    { weight: 2, arbitrary: text as fc.Arbitrary<Json> },
    fc.jsonValue({ maxDepth: 2 }) as fc.Arbitrary<Json>,
  )
  const change = fc.tuple(
    fc.nat(1_000),
    fc.constantFrom('replace' as const, 'replace' as const, 'remove' as const, 'wrap' as const, 'add' as const),
    fc.constantFrom('extra', '__proto__', ...fields),
    value,
  )
  const body = json
    ? fc.oneof(
        { weight: 2, arbitrary: fc.constant(own.body as Json) },
        { weight: 2, arbitrary: fc.constant(other.body as Json) },
        {
          weight: 6,
          arbitrary: fc.array(change, { minLength: 1, maxLength: 3 }).map((all) => changed(own.body as Json, all)),
        },
        { weight: 1, arbitrary: value },
      )
    : fc.constant(undefined)
  const sentence = raw ? fc.oneof(fc.constant(raw.example), text) : fc.constant(undefined)
  return fc.record({ values, query, headers, body, sentence }).map(({ values, query, headers, body, sentence }) => {
    const search = Object.entries(query).map(([name, each]) => `${name}=${encoded(String(each))}`)
    const wellFormed = Object.fromEntries(
      Object.entries(values as Record<string, string>).map(([name, each]) => [name, wellFormedOf(each)]),
    )
    return {
      about: 'at random',
      path: fill(path, wellFormed) + (search.length > 0 ? `?${search.join('&')}` : ''),
      // Not naming another workspace is what most requests do.
      headers: withoutMost(headers as Record<string, string>, search.length),
      ...(body !== undefined && { body: JSON.stringify(body) }),
      ...(sentence !== undefined && { body: sentence, type: raw!.type }),
    }
  })
}

/** Of the headers that would keep a request from its handler, one in four goes out. */
function withoutMost(headers: Record<string, string>, n: number): Record<string, string> {
  if (n % 4 === 3) return headers
  const { 'x-workspace-id': _, 'if-match': __, ...rest } = headers
  return rest
}

const encoded = (text: string) => encodeURIComponent(wellFormedOf(text))
/** Lone surrogates have no bytes to be sent as. */
const wellFormedOf = (text: string) => Buffer.from(text).toString()
const asHeader = (text: string) => text.replace(/[^\x20-\x7e]/g, '')

function valueOf(schema: Schema, text: fc.Arbitrary<string>): fc.Arbitrary<unknown> {
  const { type, enum: choices, format, anyOf = [], oneOf = [] } = resolve(schema)
  const [first] = [...anyOf, ...oneOf]
  if (choices) return fc.oneof(fc.constantFrom(...choices), text)
  if (format === 'date-time') return fc.oneof(fc.constantFrom('2026-11-22T08:00:00Z', '2030-01-01T00:00:00Z'), text)
  if ([type].flat().some((each) => each === 'integer' || each === 'number'))
    return fc.oneof(fc.integer(), fc.nat(100), text)
  if ([type].flat().includes('boolean')) return fc.oneof(fc.boolean(), text)
  return first ? valueOf(first, text) : text
}

/** A copy in which the nodes that the changes count to are others. */
function changed(value: Json, changes: Change[]): Json {
  return changes.reduce((before, [at, how, name, other]) => {
    const copy: { root: Json } = { root: structuredClone(before) }
    const places: [container: Json[] | Record<string, Json>, key: string][] = []
    const collect = (container: Json[] | Record<string, Json>) => {
      for (const [key, child] of Object.entries(container)) {
        places.push([container, key])
        if (typeof child === 'object' && child !== null) collect(child as Json[])
      }
    }
    collect(copy as Record<string, Json>)
    const [container, key] = places[at % places.length]!
    const target = container as Record<string, Json>
    if (how === 'replace') target[key] = other
    else if (how === 'wrap') target[key] = [target[key]!]
    else if (how === 'remove' && container !== copy) {
      if (Array.isArray(container)) container.splice(Number(key), 1)
      else delete target[key]
    } else if (typeof target[key] === 'object' && target[key] !== null)
      Object.defineProperty(target[key], name, { value: other, enumerable: true, configurable: true, writable: true })
    return copy.root
  }, value)
}
