import { fill, nowhere, resolve, type Parameter, type Schema, type WalkedOperation } from './operations.ts'

/** One request as it goes out. */
export interface Case {
  about: string
  path: string
  headers?: Record<string, string>
  /** Text of the body; JSON unless `type` says otherwise. */
  body?: string
  type?: string
}

// As raw text for an address; a lone surrogate is what its bytes in UTF-8 would be.
export const long = 'x'.repeat(300_000)
const years = { 'year 0': '0000-01-01T00:00:00Z', 'year 9999': '9999-12-31T23:59:59-23:59' }
const cursor = (millis: string, id: string) => btoa(`${millis}.${id}`).replace(/=+$/, '')
const cursors = {
  'a foreign cursor': cursor('1795334400000', nowhere),
  'a cursor of no year': cursor('999999999999999', nowhere),
  'a cursor of no id': cursor('1795334400000', '-'.repeat(36)),
}
const addressed = { NUL: '%00', 'a lone surrogate': '%ed%a0%80', 'a long text': long, ...years, ...cursors }
const sizes = { 'a large number': '99999999999999', 'a larger one': '9'.repeat(30), 'a negative one': '-1' }
const written = { NUL: 'a\0b', 'a lone surrogate': 'a\ud800b', 'a long text': long, ...years }
/** For random places: what has broken programs before, and what programs write into queries, templates and paths. */
export const texts = [
  ...Object.values(years),
  ...Object.values(cursors),
  ...Object.values(sizes),
  '',
  '0',
  'null',
  'a\0b',
  'a\ud800b',
  '../../etc/passwd',
  '..%2f..%2fapi',
  "' or 1=1 --",
  '$1',
  '{{ secret("a.b") }}',
  '{{ 1 | divided_by: 0 }}',
  '__proto__',
  'constructor',
  '*',
  '%',
  '\u202e',
  '1e309',
  '-0',
  '2026-02-30',
  'P1Y',
  'http://169.254.169.254/',
]

/** Each parameter and each text of the body in turn, with everything that is hostile; the rest as it should be. */
export function casesOf(
  { path: template, parameters, json, raw }: WalkedOperation,
  values: Readonly<Record<string, string>>,
  example: unknown,
): Case[] {
  const path = fill(template, values)
  const body = json ? { body: JSON.stringify(example) } : raw ? { body: raw.example, type: raw.type } : {}
  const cases: Case[] = []
  for (const { name, in: place } of parameters) {
    for (const [about, value] of Object.entries({ ...addressed, ...sizes })) {
      const what = { about: `${about} as ${name}`, ...body }
      if (place === 'path') cases.push({ ...what, path: fill(template.replace(`{${name}}`, value), values) })
      if (place === 'query') cases.push({ ...what, path: `${path}?${name}=${value.replaceAll('+', '%2B')}` })
      // The header itself takes no NUL; how long to wait is no text to look up.
      if (place === 'header' && value === long && name !== 'prefer')
        cases.push({ ...what, path, headers: { [name]: value } })
    }
  }
  if (!json || typeof example !== 'object' || example === null) return cases
  const given = example as Record<string, unknown>
  const fields = new Set(Object.keys(given).filter((name) => typeof given[name] === 'string'))
  for (const [name, schema] of propertiesOf(json.schema)) if (isText(schema)) fields.add(name)
  for (const name of fields) {
    for (const [about, value] of Object.entries(written))
      cases.push({ about: `${about} as ${name}`, path, body: JSON.stringify({ ...given, [name]: value }) })
  }
  return cases
}

export function propertiesOf(schema: Schema): [string, Schema][] {
  const { properties = {}, anyOf = [], oneOf = [], allOf = [] } = resolve(schema)
  return [...Object.entries(properties), ...[...anyOf, ...oneOf, ...allOf].flatMap(propertiesOf)]
}

function isText(schema: Schema): boolean {
  const { type, anyOf = [], oneOf = [] } = resolve(schema)
  return [type].flat().includes('string') || [...anyOf, ...oneOf].some(isText)
}

export const ofPlace = (parameters: Parameter[], place: Parameter['in']): Parameter[] =>
  parameters.filter((parameter) => parameter.in === place)
