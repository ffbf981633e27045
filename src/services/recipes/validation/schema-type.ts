import { isObject } from '../../../lib/json.ts'
import { anyJson, either, mapOf, never, typeOf, type Type } from '../../../lib/language/types.ts'
import type { Kind } from '../../../lib/language/values.ts'

const kindOfName: { [name: string]: Kind } = {
  null: 'null',
  boolean: 'bool',
  object: 'map',
  array: 'list',
  number: 'number',
  integer: 'number',
  string: 'string',
}

/**
 * What a value is that fits the schema. Each keyword only narrows what the others leave, so one that is not looked at here
 * (`$ref`, `allOf`, `if`, `not`) makes the answer wider, never wrong.
 */
export function typeOfSchema(schema: unknown): Type {
  if (!isObject(schema)) return schema === false ? never : anyJson
  const { type, enum: values, anyOf, oneOf } = schema
  const alternatives = [anyOf, oneOf].filter(Array.isArray).map((list) => list.map(typeOfSchema).reduce(either, never))
  const narrowed = [
    ...(typeof type === 'string' || Array.isArray(type) ? [ofNames([type].flat())] : []),
    ...(Array.isArray(values) ? [ofValues(values)] : []),
    ...(Object.hasOwn(schema, 'const') ? [ofValues([schema['const']])] : []),
    ...alternatives,
  ]
  const kinds = [...anyJson.kinds].filter((kind) => narrowed.every((each) => each.kinds.has(kind)))
  const list = itemsOf(schema) ?? alternatives.find(({ items }) => items)?.items
  const map = membersOf(schema) ?? alternatives.find(({ members }) => members)
  return { kinds: new Set(kinds), items: list, members: map?.members, closed: map?.closed }
}

const ofNames = (names: unknown[]): Type =>
  names.every((name) => typeof name === 'string' && Object.hasOwn(kindOfName, name))
    ? typeOf(...names.map((name) => kindOfName[name as string]!))
    : anyJson

function ofValues(values: unknown[]): Type {
  return typeOf(
    ...values.map((value): Kind => {
      if (value === null) return 'null'
      if (Array.isArray(value)) return 'list'
      return kindOfName[typeof value] ?? 'map'
    }),
  )
}

function itemsOf({ items, prefixItems }: Record<string, unknown>): Type | undefined {
  return items === undefined || prefixItems !== undefined ? undefined : typeOfSchema(items)
}

function membersOf(schema: Record<string, unknown>): Pick<Type, 'members' | 'closed'> | undefined {
  const { properties, additionalProperties, patternProperties } = schema
  if (!isObject(properties)) return undefined
  const members = Object.entries(properties).map(([name, each]) => [name, typeOfSchema(each)] as const)
  return mapOf(Object.fromEntries(members), additionalProperties === false && patternProperties === undefined)
}
