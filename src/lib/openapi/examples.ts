import { resolve, type SchemaNode, type Schemas } from './schema-rows.ts'

const maxDepth = 6

/** A value of the shape: what the schema gives as an example, else one put together from its parts. */
export function exampleOf(schema: SchemaNode, schemas: Schemas, depth = 0): unknown {
  const node = resolve(schema, schemas)
  if (node.example !== undefined) return node.example
  if (node.default !== undefined) return node.default
  if (node.const !== undefined) return node.const
  if (node.enum) return node.enum[0]
  if (depth >= maxDepth) return undefined
  const choice = (node.anyOf ?? node.oneOf)?.[0]
  if (choice) return exampleOf(choice, schemas, depth + 1)
  if (node.allOf) return Object.assign({}, ...node.allOf.map((part) => exampleOf(part, schemas, depth + 1)))
  const type = Array.isArray(node.type) ? node.type[0] : node.type
  switch (type) {
    case 'object':
      return Object.fromEntries(
        Object.entries(node.properties ?? {}).map(([name, property]) => [
          name,
          exampleOf(property, schemas, depth + 1),
        ]),
      )
    case 'array':
      return node.items ? [exampleOf(node.items, schemas, depth + 1)] : []
    case 'string':
      return stringOf(node.format)
    case 'integer':
    case 'number':
      return 1
    case 'boolean':
      return true
    case 'null':
      return null
    default:
      return undefined
  }
}

function stringOf(format: string | undefined): string {
  if (format === 'uuid') return '01939f3c-5c2a-7b3e-9d1a-2f6b8c4d5e6f'
  if (format === 'date-time') return '2026-11-22T12:00:00.000Z'
  if (format === 'uri') return 'https://example.com'
  return 'string'
}
