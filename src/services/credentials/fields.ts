import type { Fault } from '../../lib/errors.ts'
import { faultOfSchema, validateJson } from '../../lib/json-schema.ts'
import { isObject, type Json, type JsonObject } from '../../lib/json.ts'
import { coversTopLevel, formatHostPattern, parseHostPattern } from '../../lib/net/host-pattern.ts'
import { findType, type CredentialType } from './types.data.ts'

type FieldValue = string | number | boolean

// What the connection itself needs, or what would address another host than the one that is checked.
const reservedHeaders = new Set([
  'host',
  'connection',
  'content-length',
  'transfer-encoding',
  'te',
  'trailer',
  'upgrade',
  'expect',
  'keep-alive',
  'proxy-authorization',
  'proxy-connection',
])
/** As `secret('slug.field')` can name them. */
const fieldName = /^[A-Za-z0-9_-]{1,64}$/
const maxSealedLength = 65_536

/** What the fields of a credential are: its type says it, or the credential itself. */
export const schemaOf = (kind: string, own: JsonObject | null): JsonObject =>
  kind === 'custom' ? (own ?? {}) : (findType(kind)?.schema ?? {})

export const propertiesOf = (schema: JsonObject): [name: string, property: JsonObject][] =>
  Object.entries(isObject(schema['properties']) ? schema['properties'] : {}).flatMap(([name, property]) =>
    isObject(property) ? [[name, property as JsonObject]] : [],
  )

/** Faults of the fields; they never repeat a value. */
export function faultsOfFields(kind: string, schema: JsonObject, values: JsonObject): Fault[] {
  const faults = validateJson(schema, values).map(({ pointer, detail }) => ({ pointer: `/fields${pointer}`, detail }))
  for (const [name, value] of Object.entries(values)) {
    if (!fieldName.test(name)) faults.push({ pointer: '/fields', detail: 'names must match [A-Za-z0-9_-]{1,64}' })
    else if (!isFieldValue(value))
      faults.push({ pointer: `/fields/${name}`, detail: 'must be a text, a number or a flag' })
  }
  const name = values['name']
  if (typeof name === 'string' && isSentInHeader(kind, values) && reservedHeaders.has(name.toLowerCase()))
    faults.push({ pointer: '/fields/name', detail: 'must not be a header of the connection' })
  if (JSON.stringify(values).length > maxSealedLength) faults.push({ pointer: '/fields', detail: 'are too large' })
  return unique(faults)
}

const isFieldValue = (value: Json | undefined): value is FieldValue =>
  typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'

const isSentInHeader = (kind: string, values: JsonObject) =>
  kind === 'header' || (kind === 'api_key' && values['in'] !== 'query')

const unique = (faults: Fault[]): Fault[] => [...new Map(faults.map((fault) => [fault.pointer, fault])).values()]

/** Of type custom: a schema of an object whose members are plain, so that it is clear which of them are secret. */
export function faultsOfFieldSchema(schema: JsonObject | undefined): Fault[] {
  if (schema === undefined) return [{ pointer: '/field_schema', detail: 'is required for type custom' }]
  const fault = faultOfSchema(schema)
  if (fault !== null) return [{ pointer: `/field_schema${fault.pointer}`, detail: fault.detail }]
  const known = new Set(propertiesOf(schema).map(([name]) => name))
  if (schema['type'] !== 'object' || known.size === 0)
    return [{ pointer: '/field_schema', detail: 'must be of type object and name its properties' }]
  // What it does not name would be neither secret nor shown.
  if (schema['additionalProperties'] !== false)
    return [{ pointer: '/field_schema/additionalProperties', detail: 'must be false' }]
  if (!propertiesOf(schema).some(([, property]) => property['secret'] === true))
    return [{ pointer: '/field_schema/properties', detail: 'must mark at least one with secret: true' }]
  return []
}

/** What is sealed, and what may be read. */
export function splitFields(schema: JsonObject, values: JsonObject): { secret: JsonObject; readable: JsonObject } {
  // What the schema does not name is taken for a secret.
  const open = new Set(propertiesOf(schema).flatMap(([name, property]) => (property['secret'] === true ? [] : [name])))
  const part = (isOpen: boolean) =>
    Object.fromEntries(Object.entries(values).filter(([name]) => open.has(name) === isOpen))
  return { secret: part(false), readable: part(true) }
}

/** What is not given and has a default gets it, so that whoever uses the fields need not know the schema. */
export const withDefaults = (schema: JsonObject, values: JsonObject): JsonObject => ({
  ...Object.fromEntries(
    propertiesOf(schema).flatMap(([name, property]) =>
      isFieldValue(property['default']) ? [[name, property['default']]] : [],
    ),
  ),
  ...values,
})

/** Canonical and without repetition. A pattern for every host is none: it would bind the secret to nothing. */
export function readHosts(hosts: readonly string[], faults: Fault[]): string[] {
  const read = hosts.map((text, index) => {
    const pattern = parseHostPattern(text)
    if (pattern && !coversTopLevel(pattern)) return formatHostPattern(pattern)
    faults.push({
      pointer: `/hosts/${index}`,
      detail: 'must be a host, host:port or *.suffix with a dot in the suffix',
    })
    return text
  })
  return [...new Set(read)]
}

/** The hosts that the type or its fields name. */
export function defaultHosts({ hosts }: CredentialType, values: JsonObject): string[] {
  const named = (hosts?.fields ?? []).flatMap((field) => {
    const value = values[field]
    if (typeof value !== 'string') return []
    return [URL.canParse(value) ? new URL(value).host : value]
  })
  // A bucket that stands in the host, as it is asked there.
  const { endpoint, bucket, path_style } = values
  if (path_style === false && typeof endpoint === 'string' && typeof bucket === 'string' && URL.canParse(endpoint))
    named.push(`${bucket}.${new URL(endpoint).host}`)
  // Who names an address of their own means that one.
  const chosen = named.length > 0 ? named : (hosts?.fixed ?? [])
  return chosen.flatMap((host) => {
    const pattern = parseHostPattern(host)
    return pattern ? [formatHostPattern(pattern)] : []
  })
}

/** Numbers and flags are sent as texts. */
export const textsOf = (fields: JsonObject): Record<string, string> =>
  Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, String(value)]))
