import { Ajv2020 } from 'ajv/dist/2020.js'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { checkSchema, validateJson } from '../../src/lib/json-schema.ts'
import type { Json, JsonObject } from '../../src/lib/json.ts'

const value = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    fc.constantFrom<Json>(null, true, false, 0, 1, 2.5, -3, 'a', 'ab', '', 'é'),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom('a', 'b', 'ab'), tie('value'), { maxKeys: 3, noNullPrototype: true }),
  ),
})).value

const name = fc.constantFrom('a', 'b', 'ab')
const size = fc.integer({ min: 0, max: 3 })
const schema = fc.letrec<{ schema: Json }>((tie) => {
  const list = fc.array(tie('schema'), { minLength: 1, maxLength: 2 })
  const map = fc.dictionary(name, tie('schema'), { maxKeys: 2, noNullPrototype: true })
  const type = fc.constantFrom('null', 'boolean', 'object', 'array', 'number', 'string', 'integer')
  return {
    schema: fc.oneof(
      { maxDepth: 3 },
      fc.boolean(),
      type.map((one) => ({ type: one })),
      fc.uniqueArray(type, { minLength: 1, maxLength: 3 }).map((types) => ({ type: types })),
      value.map((item) => ({ const: item })),
      fc
        .uniqueArray(value, { minLength: 1, maxLength: 3, selector: (item) => JSON.stringify(item) })
        .map((items) => ({ enum: items })),
      fc.record({ minLength: size, maxLength: size, pattern: fc.constantFrom('^a', 'b$', 'é') }, { requiredKeys: [] }),
      fc.record({ minimum: size, exclusiveMaximum: size, multipleOf: fc.constantFrom(1, 0.5) }, { requiredKeys: [] }),
      fc.record(
        {
          properties: map,
          patternProperties: fc.dictionary(fc.constantFrom('^a', 'b$'), tie('schema'), {
            maxKeys: 2,
            noNullPrototype: true,
          }),
          additionalProperties: tie('schema'),
          required: fc.uniqueArray(name, { maxLength: 2 }),
          propertyNames: tie('schema'),
          minProperties: size,
          maxProperties: size,
          dependentRequired: fc.dictionary(name, fc.uniqueArray(name, { maxLength: 2 }), {
            maxKeys: 1,
            noNullPrototype: true,
          }),
          dependentSchemas: map,
          unevaluatedProperties: tie('schema'),
        },
        { requiredKeys: [] },
      ),
      fc.record(
        {
          prefixItems: list,
          items: tie('schema'),
          minItems: size,
          maxItems: size,
          uniqueItems: fc.boolean(),
          unevaluatedItems: tie('schema'),
        },
        { requiredKeys: [] },
      ),
      // On its own: Ajv forgets it beside prefixItems on short lists, and does not count what it matched as evaluated.
      fc.record({ contains: tie('schema'), maxContains: size }, { requiredKeys: ['contains'] }),
      // Built from pairs: an object literal with a `then` looks like a promise.
      fc.record(
        Object.fromEntries([
          ...['allOf', 'anyOf', 'oneOf'].map((keyword) => [keyword, list] as const),
          ...['not', 'if', 'then', 'else'].map((keyword) => [keyword, tie('schema')] as const),
        ]),
        { requiredKeys: [] },
      ),
    ) as fc.Arbitrary<Json>,
  }
}).schema

/** Undefined where the code that Ajv generates uses a variable that it does not declare, as of unevaluatedItems in `else`. */
function opinion(ask: () => unknown): unknown {
  try {
    return ask()
  } catch (error) {
    if (error instanceof ReferenceError) return undefined
    throw error
  }
}

test('agrees with a reference implementation on what is valid', () => {
  fc.assert(
    fc.property(schema, fc.array(value, { minLength: 5, maxLength: 10 }), (inner, instances) => {
      const whole: JsonObject = { $defs: { inner }, $ref: '#/$defs/inner' }
      expect(checkSchema(whole)).toBeNull()
      const reference = new Ajv2020({ strict: false, logger: false }).compile(whole)
      for (const instance of instances) {
        const expected = opinion(() => reference(instance))
        if (expected !== undefined) expect(validateJson(whole, instance).length === 0).toBe(expected)
      }
    }),
    { numRuns: 60 },
  )
})

test('lists every fault with its pointer and in words', () => {
  const faults = validateJson(
    {
      type: 'object',
      properties: {
        url: { type: 'string', format: 'uri' },
        count: { type: 'integer', minimum: 1 },
        tags: { type: 'array', items: { enum: ['a', 'b'] } },
      },
      required: ['url', 'name'],
      additionalProperties: false,
    },
    { url: 'nowhere', count: 0.5, tags: ['a', 'c'], 'x/y': 1 },
  )
  expect(faults).toEqual([
    { pointer: '/name', detail: 'is required' },
    { pointer: '/url', detail: 'must be a URI' },
    { pointer: '/count', detail: 'must be a whole number' },
    { pointer: '/count', detail: 'must be at least 1' },
    { pointer: '/tags/1', detail: 'must be one of "a", "b"' },
    { pointer: '/x~1y', detail: 'is not allowed' },
  ])
})

test('tells how the closest of several shapes failed', () => {
  const schemaOf: JsonObject = {
    anyOf: [
      { type: 'object', properties: { a: { type: 'string' } }, required: ['a'] },
      { type: 'array', minItems: 3 },
    ],
  }
  expect(validateJson(schemaOf, { a: 1 })).toEqual([
    { pointer: '', detail: 'matches none of the allowed shapes (/a must be a text)' },
  ])
})

test('what `contains` has matched counts as evaluated', () => {
  const schemaOf = { contains: { type: 'string' }, unevaluatedItems: false }
  expect(validateJson(schemaOf, ['a'])).toEqual([])
  expect(validateJson(schemaOf, ['a', 1])).toEqual([{ pointer: '/1', detail: 'is not allowed' }])
  expect(validateJson(schemaOf, [])).toEqual([{ pointer: '', detail: 'must hold at least 1 matching items' }])
})

test('decimal fractions divide as people expect', () => {
  expect(validateJson({ multipleOf: 0.1 }, 0.3)).toEqual([])
  expect(validateJson({ multipleOf: 0.1 }, 0.35)).toEqual([{ pointer: '', detail: 'must be a multiple of 0.1' }])
})

test('names of the prototype are no members', () => {
  const schemaOf = { type: 'object', required: ['constructor'], properties: { toString: { type: 'string' } } }
  expect(validateJson(schemaOf, {})).toEqual([{ pointer: '/constructor', detail: 'is required' }])
})

test.each([
  ['date', '2024-02-29', '2023-02-29'],
  ['time', '08:30:00Z', '25:00:00Z'],
  ['date-time', '2026-11-22T08:30:00.123+01:00', '2026-11-22'],
  ['email', 'ada@example.org', 'ada@@example.org'],
  ['uri', 'https://example.org/a?b=c', '/relative'],
  ['uuid', '018f2f60-0000-7000-8000-000000000000', '018f2f60'],
  ['hostname', 'a.example.org', '-a.example.org'],
  ['ipv4', '192.0.2.1', '192.0.2.256'],
  ['ipv6', '2001:db8::1', '2001:db8:::1'],
  ['regex', '^a+$', '('],
])('format %s takes %s and not %s', (format, good, bad) => {
  expect(validateJson({ format }, good)).toEqual([])
  expect(validateJson({ format }, bad)).toHaveLength(1)
})

test.each<[Json, string]>([
  [null, 'must be a JSON Schema object'],
  [true, 'must be a JSON Schema object'],
  [{ type: 'text' }, '/type must be one or more of null, boolean, object, array, number, string, integer'],
  [{ properties: { a: { minimum: '1' } } }, '/properties/a/minimum must be a number'],
  [{ items: [{}] }, '/items must be a JSON Schema object'],
  [{ anyOf: [] }, '/anyOf must be a list of schemas'],
  [{ pattern: '(' }, '/pattern is not a regular expression'],
  [{ pattern: '(a)\\1' }, '/pattern uses a back reference, which is not supported'],
  [{ patternProperties: { '[': {} } }, '/patternProperties/[ is not a regular expression'],
  [{ $ref: 'https://example.org/schema.json' }, '/$ref must point into this schema (#/…)'],
  [{ $ref: 'file:///etc/passwd' }, '/$ref must point into this schema (#/…)'],
  [{ $ref: '#/$defs/none' }, '/$ref points at nothing'],
  [
    { $ref: '#/x', x: { type: 7 } },
    '/x/type must be one or more of null, boolean, object, array, number, string, integer',
  ],
  [{ items: { $id: 'other' } }, '/items/$id may only stand at the root'],
  [{ $dynamicRef: '#a' }, '/$dynamicRef is not supported; use $ref'],
])('the schema %j is refused: %s', (bad, fault) => {
  expect(checkSchema(bad)).toBe(fault)
})

test('follows references by pointer, by anchor and to itself', () => {
  const tree: JsonObject = {
    type: 'object',
    properties: {
      children: { type: 'array', items: { $ref: '#' } },
      name: { $ref: '#name' },
      size: { $ref: '#/$defs/a~1b' },
    },
    $defs: { name: { $anchor: 'name', type: 'string' }, 'a/b': { type: 'integer' } },
  }
  expect(checkSchema(tree)).toBeNull()
  expect(validateJson(tree, { children: [{ name: 1, children: [{ size: 'x' }] }] })).toEqual([
    { pointer: '/children/0/name', detail: 'must be a text' },
    { pointer: '/children/0/children/0/size', detail: 'must be a whole number' },
  ])
})

const tooMuch = [{ pointer: '', detail: 'is too large or too deep to be checked against its schema' }]

test('a schema that doubles its work at each reference is cut off', () => {
  const $defs: JsonObject = { s40: { type: 'object' } }
  for (let i = 0; i < 40; i++)
    $defs[`s${i}`] = { allOf: [{ $ref: `#/$defs/s${i + 1}` }, { $ref: `#/$defs/s${i + 1}` }] }
  expect(validateJson({ $ref: '#/$defs/s0', $defs }, {})).toEqual(tooMuch)
})

test('a reference that goes in a circle is cut off', () => {
  expect(validateJson({ $ref: '#' }, {})).toEqual(tooMuch)
})

test('a pattern applied to a huge text is cut off', () => {
  expect(validateJson({ pattern: '(a?){300}b' }, 'a'.repeat(1_000_000))).toEqual(tooMuch)
})

describe('whatever a keyword walks over is counted, however often a schema names it', () => {
  const often = (part: JsonObject): JsonObject => ({
    $defs: { part },
    allOf: Array.from({ length: 2_000 }, () => ({ $ref: '#/$defs/part' })),
  })
  const list = Array<Json>(50_000).fill(0)
  const members = Object.fromEntries(list.map((_, index) => [`k${index}`, 0]))
  const text = 'é'.repeat(500_000)
  const names = Array.from({ length: 5_000 }, (_, index) => `k${index}`)

  test.each<[string, JsonObject, Json]>([
    ['items', often({ items: true }), list],
    ['members', often({}), members],
    ['members that are named', often({ properties: { a: true } }), members],
    ['items that are compared', often({ uniqueItems: true }), [text]],
    ['items inside of items that are compared', often({ uniqueItems: true }), [list]],
    ['a constant', often({ const: list }), list],
    ['allowed texts', often({ enum: [`${text}a`] }), `${text}b`],
    ['characters', often({ maxLength: 300_000 }), text],
    ['characters of a format', often({ format: 'uri' }), `https://example.org/${text}`],
    ['regular expressions as values', { items: { format: 'regex' } }, list.map((_, index) => `(?:${index}{60}){60}`)],
    ['names that are required', { contains: { required: names } }, Array<Json>(5_000).fill({})],
    ['names that depend on one', { contains: { dependentRequired: { a: names } } }, Array<Json>(5_000).fill({ a: 1 })],
    ['patterns of names', { patternProperties: Object.fromEntries(names.map((name) => [name, true])) }, members],
    ['patterns', { items: { pattern: '([a-z]?){300}[0-9]' } }, Array<Json>(1_000).fill('a'.repeat(300))],
    ['what is evaluated', { ...often({ items: true }), unevaluatedItems: false }, list],
  ])('%s', (_, wide, value) => {
    expect(checkSchema(wide)).toBeNull()
    expect(validateJson(wide, value)).toEqual(tooMuch)
  })

  test('a large value under a plain schema is none of these', () => {
    const rows = Array.from({ length: 8_000 }, (_, index) => ({ id: index, name: `row ${index}`, tags: ['a'] }))
    const plain: JsonObject = {
      items: {
        type: 'object',
        properties: {
          id: { type: 'integer', minimum: 0 },
          name: { type: 'string', maxLength: 40, pattern: '^row \\d+$' },
          tags: { items: { enum: ['a', 'b'] } },
        },
        required: ['id', 'name'],
        additionalProperties: false,
      },
    }
    expect(validateJson(plain, rows)).toEqual([])
  })

  test('twenty thousand rows of ten required fields are none of these either', () => {
    const fields = Array.from({ length: 10 }, (_, index) => `field_${index}`)
    const row = Object.fromEntries(fields.map((name) => [name, name]))
    const table: JsonObject = {
      type: 'array',
      items: {
        type: 'object',
        properties: Object.fromEntries(fields.map((name) => [name, { type: 'string' }])),
        required: fields,
        additionalProperties: false,
      },
    }
    expect(validateJson(table, Array<Json>(20_000).fill(row))).toEqual([])
  })
})

test('an anchor is looked up in a schema that is walked once', () => {
  let walks = 0
  const watched = new Proxy({ $anchor: 'a' } as JsonObject, {
    ownKeys(target) {
      walks += 1
      return Reflect.ownKeys(target)
    },
  })
  const tree: JsonObject = { $defs: { watched }, allOf: Array.from({ length: 1_000 }, () => ({ $ref: '#a' })) }
  expect(checkSchema(tree)).toBeNull()
  expect(walks).toBeLessThan(10)
})

test('a name as long as a body does not come back with every fault', () => {
  const faults = validateJson(
    { additionalProperties: { items: { type: 'string' } } },
    { ['k'.repeat(100_000)]: [1, 2] },
  )
  expect(faults).toEqual([
    { pointer: '', detail: 'must be a text' },
    { pointer: '', detail: 'must be a text' },
  ])
})

test('a long value that is allowed is shown by its beginning, whatever is in it', () => {
  const value = { list: [{ b: 'x'.repeat(100), a: 1 }, ...Array<Json>(100).fill(0)] }
  const text = '{"list":[{"a":1,"b":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'
  expect(validateJson({ const: value }, 1)).toEqual([{ pointer: '', detail: `must be ${text.slice(0, 57)}…` }])
})

test('a schema of any depth is checked without a crash', () => {
  let deep: Json = {}
  for (let i = 0; i < 4_000; i++) deep = { items: deep }
  expect(checkSchema(deep)).toBeNull()
  expect(validateJson(deep as JsonObject, [])).toEqual([])
})
