import type { Json, JsonObject } from '../../../lib/json.ts'

const maxDepth = 20

/**
 * A value that matches a JSON Schema in its ordinary forms (types, enum, const, required, bounds, items); texts are
 * filled from `text`. The simulated model answers structured requests with it.
 */
export function instanceOf(schema: unknown, text: string, depth = 0): Json {
  if (typeof schema !== 'object' || schema === null || depth > maxDepth) return null
  const s = schema as JsonObject
  if ('const' in s) return s['const'] ?? null
  if ('default' in s) return s['default'] ?? null
  if (Array.isArray(s['enum'])) return s['enum'][0] ?? null
  for (const word of ['anyOf', 'oneOf', 'allOf']) {
    const options = s[word]
    if (Array.isArray(options) && options.length > 0) return instanceOf(options[0], text, depth + 1)
  }
  switch (typeOf(s)) {
    case 'object':
      return objectOf(s, text, depth)
    case 'array': {
      const count = Math.max(numberOf(s['minItems']) ?? 1, 1)
      return Array.from({ length: Math.min(count, 100) }, () => instanceOf(s['items'] ?? {}, text, depth + 1))
    }
    case 'integer':
    case 'number':
      return numberFor(s)
    case 'boolean':
      return true
    case 'null':
      return null
    default:
      return textFor(s, text)
  }
}

function typeOf(schema: JsonObject): string {
  const type = Array.isArray(schema['type']) ? schema['type'][0] : schema['type']
  if (typeof type === 'string') return type
  if (schema['properties'] !== undefined) return 'object'
  return schema['items'] === undefined ? 'string' : 'array'
}

function objectOf(schema: JsonObject, text: string, depth: number): JsonObject {
  const properties = schema['properties']
  if (typeof properties !== 'object' || properties === null || Array.isArray(properties)) return {}
  return Object.fromEntries(
    Object.entries(properties).map(([name, property]) => [name, instanceOf(property, text, depth + 1)]),
  )
}

function numberFor(schema: JsonObject): number {
  const minimum = numberOf(schema['minimum'])
  const above = numberOf(schema['exclusiveMinimum'])
  const lowest = Math.ceil(Math.max(minimum ?? -Infinity, above === null ? -Infinity : above + 1))
  const highest = numberOf(schema['maximum']) ?? Infinity
  if (Number.isFinite(lowest)) return Math.min(lowest, highest)
  return Math.min(0, highest)
}

function textFor(schema: JsonObject, text: string): string {
  if (schema['format'] === 'date-time') return '1970-01-01T00:00:00Z'
  if (schema['format'] === 'date') return '1970-01-01'
  const filled = text.padEnd(numberOf(schema['minLength']) ?? 0, '.')
  return filled.slice(0, numberOf(schema['maxLength']) ?? undefined)
}

const numberOf = (value: Json | undefined): number | null => (typeof value === 'number' ? value : null)
