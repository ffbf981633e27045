import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Json, JsonObject } from '../../../src/lib/json.ts'
import { validateJson } from '../../../src/lib/json-schema.ts'
import { kindOf } from '../../../src/lib/language/values.ts'
import { validateDefinition } from '../../../src/services/recipes/validate.ts'
import { typeOfSchema } from '../../../src/services/recipes/validation/schema-type.ts'

const inputs = {
  type: 'object',
  properties: {
    count: { type: 'integer' },
    name: { type: 'string' },
    ready: { type: 'boolean' },
    size: { enum: ['small', 'large'] },
    user: { type: 'object', properties: { first: { type: 'string' } }, additionalProperties: false },
    people: { type: 'array', items: { type: 'object', properties: { age: { type: ['number', 'null'] } } } },
    either: { anyOf: [{ type: 'string' }, { type: 'array', items: { type: 'string' } }] },
    other: { $ref: '#/properties/name' },
  },
}
const set = (value: unknown, more: object = {}) => ({ id: 'last', kind: 'transform', value, ...more })
const expr = (source: string) => ({ $expr: source })
const faultsOf = (...steps: object[]) => {
  const { faults } = validateDefinition({ name: 'Types', inputs, steps })
  return faults.map(({ pointer, detail }) => `${pointer} ${detail}`)
}

test.each<[string, object, string]>([
  ['a when', set(1, { when: 'input.name' }), '/when must be true or false, and is a text'],
  ['a field of a tree', set({ a: [expr('input.count + "x"')] }), '/value/a/0/$expr input.count + "x" can never work'],
  ['an enum', set(expr('input.size * 2')), '/value/$expr input.size * 2 can never work: a text * a number'],
  ['a closed object', set(expr('input.user.last')), "/value/$expr input.user.last can never work: there is no 'last'"],
  ['an item', set(expr('input.people.map(p, p.age + "y")')), '/value/$expr p.age + "y" can never work'],
  ['the instant of the run', set(expr('now * 2')), '/value/$expr now * 2 can never work'],
  [
    'a case',
    { id: 'last', kind: 'branch', cases: [{ when: 'input.count', steps: [{ ...set(1), id: 'in' }] }] },
    '/cases/0/when must be true or false, and is a number',
  ],
  [
    'items',
    { id: 'last', kind: 'foreach', items: expr('input.name'), as: 'x', steps: [{ ...set(1), id: 'in' }] },
    '/items/$expr must be a list, and is a text',
  ],
  [
    'a loop variable',
    {
      id: 'last',
      kind: 'foreach',
      items: expr('input.people'),
      as: 'p',
      steps: [{ ...set(expr('p.age + "x"')), id: 'in' }],
    },
    '/steps/0/value/$expr p.age + "x" can never work',
  ],
  ['the time of a wait', { id: 'last', kind: 'wait', until: expr('input.count') }, '/until/$expr must be a time'],
  [
    'the arguments of a tool',
    { id: 'last', kind: 'tool', tool: 'now', arguments: expr('input.name') },
    '/arguments/$expr must be an object, and is a text',
  ],
])('%s that can never work is a fault at its place', (_, step, fault) => {
  const found = faultsOf(step)
  expect(found).toHaveLength(1)
  expect(found[0]).toContain(`/steps/0${fault}`)
})

const call = { id: 'call', kind: 'http', request: { method: 'GET', url: 'https://api.example/v1' } }
const ask = (more: object = {}) => ({ id: 'ask', kind: 'llm', prompt: 'Which?', ...more })
const schema = { type: 'object', properties: { team: { type: 'string' } }, additionalProperties: false }

test.each<[string, object, string]>([
  ['the status of a request', call, 'steps.call.output.status + "x"'],
  ['the text of a model', ask(), 'steps.ask.output.text > 3'],
  ['what a model must answer', ask({ output_schema: schema }), 'steps.ask.output.data.tem'],
  ['a written value', { id: 'one', kind: 'transform', value: { a: 'x' } }, 'steps.one.output.a * 2'],
  ['a member of a written value', { id: 'one', kind: 'transform', value: { a: 'x' } }, 'steps.one.output.b'],
  ['the list of a loop', { ...call, id: 'x' }, 'steps.x.status + 1'],
  ['nothing', { id: 'rest', kind: 'wait', duration: '1s' }, 'steps.rest.output.x'],
  ['an error', call, 'steps.call.error.kind * 2'],
])('%s is known to the steps behind it', (_, before, source) => {
  expect(faultsOf(before, set(expr(source)))).toEqual([
    expect.stringContaining(`/steps/1/value/$expr ${source} can never work`),
  ])
})

test.each([
  ['a body', call, 'steps.call.output.body + "x"'],
  ['what may be a list or a text', call, 'input.either + ["x"]'],
  ['a schema that refers to another', call, 'input.other * 2'],
  ['a schema that admits more', call, 'input.people[0].name * 2'],
  ['a result that may be null', call, 'steps.call.output == null ? 0 : steps.call.output.status + 1'],
  [
    'a time that has left its expression',
    { id: 'at', kind: 'transform', value: expr('timestamp(now)') },
    'steps.at.output + "x"',
  ],
  ['a list behind its handle', { id: 'l', kind: 'transform', value: [1, 2] }, 'steps.l.output.sha256'],
  ['what started the run', call, 'trigger.count + 1'],
])('%s is given the benefit of the doubt', (_, before, source) => {
  expect(faultsOf(before, set(expr(source)))).toEqual([])
})

test('a loop may go over whatever may be a list, or the handle of one', () => {
  const each = (items: string) => ({
    id: 'last',
    kind: 'foreach',
    items: expr(items),
    as: 'x',
    steps: [{ ...set(1), id: 'in' }],
  })
  for (const items of ['steps.call.output.body', 'steps.call.output', 'input.either', 'previous.output'])
    expect(faultsOf(call, each(items))).toEqual([])
  expect(faultsOf(call, each('steps.call.output.status'))).toHaveLength(1)
})

test('a value that fits a schema has the type that was read from it', () => {
  const name = fc.constantFrom('a', 'b', 'c')
  const { schema } = fc.letrec<{ schema: JsonObject | boolean }>((tie) => ({
    schema: fc.oneof(
      { depthSize: 'small' },
      fc.constant(true),
      fc.constantFrom('null', 'boolean', 'object', 'array', 'number', 'integer', 'string').map((type) => ({ type })),
      fc
        .uniqueArray(fc.constantFrom('null', 'boolean', 'object', 'array', 'string'), { minLength: 1 })
        .map((type) => ({ type })),
      fc
        .array(fc.jsonValue({ maxDepth: 1 }), { minLength: 1, maxLength: 3 })
        .map((values) => ({ enum: values as Json[] })),
      fc.jsonValue({ maxDepth: 1 }).map((value) => ({ const: value as Json })),
      fc.array(tie('schema'), { minLength: 1, maxLength: 3 }).map((anyOf) => ({ anyOf })),
      tie('schema').map((items) => ({ type: 'array', items })),
      fc
        .record({ properties: fc.dictionary(name, tie('schema')), additionalProperties: fc.boolean() })
        .map((rest) => ({ type: ['object', 'null'], ...rest })),
      fc
        .tuple(tie('schema'), tie('schema'))
        .map(([one, other]) => ({ anyOf: [one, other], oneOf: [one, true, other] })),
    ) as fc.Arbitrary<JsonObject | boolean>,
  }))
  const value = fc.letrec<{ value: Json }>((tie) => ({
    value: fc.oneof(
      { depthSize: 'small' },
      fc.constantFrom<Json>(null, true, 1, 2.5, 'x'),
      fc.array(tie('value'), { maxLength: 2 }),
      fc.dictionary(name, tie('value')),
    ),
  })).value
  const fits = (type: ReturnType<typeof typeOfSchema> | undefined, of: Json): boolean => {
    if (!type) return true
    if (!type.kinds.has(kindOf(of))) return false
    if (Array.isArray(of)) return of.every((item) => fits(type.items, item))
    if (typeof of !== 'object' || of === null || !type.members) return true
    const { members, closed } = type
    return Object.entries(of).every(([key, item]) => (Object.hasOwn(members, key) ? fits(members[key], item) : !closed))
  }
  let valid = 0
  fc.assert(
    fc.property(schema, fc.array(value, { minLength: 20, maxLength: 20 }), (schema, values) => {
      if (typeof schema === 'boolean') return
      const type = typeOfSchema(schema)
      for (const each of values) {
        if (validateJson(schema, each).length > 0) continue
        valid++
        expect([schema, each, fits(type, each)]).toEqual([schema, each, true])
      }
    }),
    { numRuns: 1_000 },
  )
  expect(valid).toBeGreaterThan(500)
})

test('two hundred steps that each give the one before twice are gone through, though as a tree they would never end', () => {
  const before = (index: number) => `steps.t${index - 1}.output`
  const forms: ((source: string) => unknown)[] = [
    (source) => ({ a: expr(source), b: [expr(source)] }),
    (source) => expr(`{"a": ${source}, "b": ${source}}`),
    (source) => expr(`cel.bind(v, ${source}, {"a": v, "b": {"a": [v], "b": v}})`),
  ]
  for (const form of forms) {
    const steps = Array.from({ length: 199 }, (_, index) =>
      set(index === 0 ? { a: 1 } : form(before(index)), { id: `t${index}` }),
    )
    expect(faultsOf(...steps, set(expr('steps.t198.output.a')))).toEqual([])
    expect(faultsOf(...steps, set(expr('steps.t198.output.a + 1')))).toHaveLength(1)
  }
  const bound = Array.from({ length: 20 }, (_, index) => index)
  const nested = bound.reduceRight((body, at) => `cel.bind(v${at + 1}, {"a": v${at}, "b": v${at}}, ${body})`, 'v20')
  expect(faultsOf(set(expr(`cel.bind(v0, 1, ${nested})`)))).toEqual([])
})
