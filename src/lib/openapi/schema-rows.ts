import type { OpenApiDocument } from './document.ts'

/** The part of JSON Schema that our documents use. */
export interface SchemaNode {
  $ref?: string
  type?: string | string[]
  format?: string
  description?: string
  enum?: unknown[]
  const?: unknown
  default?: unknown
  example?: unknown
  properties?: Record<string, SchemaNode>
  required?: string[]
  items?: SchemaNode
  additionalProperties?: boolean | SchemaNode
  anyOf?: SchemaNode[]
  oneOf?: SchemaNode[]
  allOf?: SchemaNode[]
}
export type Schemas = Record<string, SchemaNode>

export const asSchemas = (document: OpenApiDocument): Schemas => (document.components?.schemas ?? {}) as Schemas

const nameOf = (ref: string) => ref.slice(ref.lastIndexOf('/') + 1)

export function resolve(schema: SchemaNode, schemas: Schemas): SchemaNode {
  return schema.$ref ? (schemas[nameOf(schema.$ref)] ?? {}) : schema
}

/** A type in words: `array of Agent`, `string (uuid) or null`. */
export function typeOf(schema: SchemaNode): string {
  if (schema.$ref) return nameOf(schema.$ref)
  if (schema.const !== undefined) return JSON.stringify(schema.const)
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(' | ')
  const choices = schema.anyOf ?? schema.oneOf
  if (choices) return choices.map((choice) => typeOf(choice)).join(' or ')
  if (schema.allOf) return schema.allOf.map((part) => typeOf(part)).join(' and ')
  const types = Array.isArray(schema.type) ? schema.type : [schema.type ?? 'any']
  return types
    .map((type) => {
      if (type === 'array') return `array of ${typeOf(schema.items ?? {})}`
      return schema.format && type === 'string' ? `string (${schema.format})` : type
    })
    .join(' or ')
}

export interface Row {
  name: string
  type: string
  required: boolean
  description: string
}

// Deep enough for our bodies, and an end for schemas that contain themselves.
const maxDepth = 3

/** The fields of an object schema, nested ones with their path. */
export function rowsOf(schema: SchemaNode, schemas: Schemas, prefix = '', depth = 0): Row[] {
  const node = resolve(schema, schemas)
  if (node.allOf) return node.allOf.flatMap((part) => rowsOf(part, schemas, prefix, depth))
  if (node.type === 'array' && node.items) return rowsOf(node.items, schemas, `${prefix}[]`, depth)
  return Object.entries(node.properties ?? {}).flatMap(([name, property]) => {
    const path = prefix === '' ? name : `${prefix}.${name}`
    const row = {
      name: path,
      type: typeOf(property),
      required: node.required?.includes(name) ?? false,
      description: property.description ?? '',
    }
    return depth + 1 < maxDepth ? [row, ...rowsOf(property, schemas, path, depth + 1)] : [row]
  })
}
