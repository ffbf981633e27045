import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Json } from '../../../src/lib/json.ts'
import { LanguageError } from '../../../src/lib/language/scope.ts'
import { checkTree, renderTree } from '../../../src/lib/language/tree.ts'

const scope = { input: { x: 4, list: [1, { a: 'b' }], text: 'abc', nothing: null } }

test('each leaf is rendered by its kind, and keys and other values stay', () => {
  const tree = {
    sum: { $expr: 'input.x + 1' },
    typed: '{{ input.list }}',
    number: '{{ input.x }}',
    filtered: '{{ input.x | plus: 1 }}',
    text: 'x is {{ input.x }}',
    padded: ' {{ input.x }}',
    absent: '{{ input.nope }}',
    nothing: '{{ input.nothing }}',
    '{{ input.x }}': ['a', 1, true, null, { deep: '{{ input.text }}' }],
  }
  expect(renderTree(tree, scope)).toEqual({
    sum: 5,
    typed: [1, { a: 'b' }],
    number: 4,
    filtered: 5,
    text: 'x is 4',
    padded: ' 4',
    absent: null,
    nothing: null,
    '{{ input.x }}': ['a', 1, true, null, { deep: 'abc' }],
  })
})

test('what data says is never a template', () => {
  const evil = { input: { a: '{{ input.b }}', c: { $expr: '1 + 1' }, b: 'leak' } }
  expect(renderTree({ x: '{{ input.a }}', y: { $expr: 'input.a' }, z: '{{ input.c }}' }, evil)).toEqual({
    x: '{{ input.b }}',
    y: '{{ input.b }}',
    z: { $expr: '1 + 1' },
  })
})

test('absent names are reported', () => {
  const warnings: string[] = []
  renderTree({ a: '{{ input.nope }}', b: ['{{ gone }} text'] }, scope, (message) => warnings.push(message))
  expect(warnings).toEqual(['input.nope is absent and rendered as nothing.', 'gone is absent and rendered as nothing.'])
})

test('every fault is listed with its pointer', () => {
  const tree: Json = {
    'a/b': { '~c': { $expr: '1 +' } },
    list: ['ok', '{{ x', { $expr: 'nope(steps.one.output)' }],
    both: { $expr: '1', more: 2 },
    number: { $expr: 1 },
  }
  const { faults, references } = checkTree(tree, '/steps/0/value')
  expect(faults.map(({ pointer }) => pointer)).toEqual([
    '/steps/0/value/a~1b/~0c/$expr',
    '/steps/0/value/list/1',
    '/steps/0/value/list/2/$expr',
    '/steps/0/value/both',
    '/steps/0/value/number',
  ])
  expect(references).toEqual([{ root: 'steps', path: ['one', 'output'], pointer: '/steps/0/value/list/2/$expr' }])
})

test('references and secrets carry the pointer of their leaf', () => {
  const tree = { headers: { authorization: "Bearer {{ secret('api.token') }}" }, body: '{{ steps.a.output }}' }
  expect(checkTree(tree, '/request')).toEqual({
    faults: [],
    references: [{ root: 'steps', path: ['a', 'output'], pointer: '/request/body' }],
    secrets: [{ ref: 'api.token', pointer: '/request/headers/authorization' }],
  })
})

test('an own __proto__ key stays an own key', () => {
  const rendered = renderTree(JSON.parse('{"__proto__": {"x": "{{ input.x }}"}}') as Json, scope)
  expect(JSON.stringify(rendered)).toBe('{"__proto__":{"x":4}}')
  expect(Object.getPrototypeOf(rendered)).toBe(Object.prototype)
})

test('a tree of 10,000 levels is refused, a tree that renders too large too', () => {
  let deep: Json = 'x'
  for (let level = 0; level < 10_000; level += 1) deep = { deep }
  expect(() => renderTree(deep, scope)).toThrow(LanguageError)
  expect(checkTree(deep, '').faults).toHaveLength(1)
  const large = { t: 'x'.repeat(250_000) }
  expect(() =>
    renderTree(
      Array.from({ length: 20 }, () => '{{ t }}'),
      large,
    ),
  ).toThrow('larger than 4000000')
})

test('any tree renders to JSON or throws a LanguageError, and a checked tree has a pointer for every fault', () => {
  const leaf = fc.oneof(
    fc.string(),
    fc.constantFrom('{{ input.x }}', '{{ input', '{% if %}', 'a {{ nope }}', "{{ secret('a1.b') }}"),
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    fc.constantFrom('1 + 1', 'input.list[5]', '((', 'input.x').map((source) => ({ $expr: source })),
  )
  const { tree } = fc.letrec<{ tree: Json }>((tie) => ({
    tree: fc.oneof(
      { depthSize: 'small' },
      leaf,
      fc.array(tie('tree'), { maxLength: 4 }),
      fc.dictionary(fc.string(), tie('tree'), { maxKeys: 4 }),
    ) as fc.Arbitrary<Json>,
  }))
  fc.assert(
    fc.property(tree, (value) => {
      for (const { pointer } of checkTree(value, '/at').faults) expect(pointer.startsWith('/at')).toBe(true)
      try {
        const rendered = renderTree(value, scope)
        expect(JSON.parse(JSON.stringify(rendered))).toEqual(rendered)
      } catch (error) {
        expect(error).toBeInstanceOf(LanguageError)
      }
    }),
    { numRuns: 300 },
  )
})
