import { expect, test } from 'vitest'
import { validateDefinition } from '../../../src/services/recipes/validate.ts'

const recipe = (steps: unknown, more: object = {}) => ({ name: 'Hostile', steps, ...more })
const transform = (value: unknown) => [{ id: 'a', kind: 'transform', value }]
const many = <T>(count: number, each: (index: number) => T): T[] => Array.from({ length: count }, (_, i) => each(i))

const sizeOf = (faults: object) => JSON.stringify(faults).length

test('a report stays small, however long the names are that its pointers are made of', () => {
  const long = 'k'.repeat(100_000)
  const { faults } = validateDefinition(recipe(transform({ [long]: many(4_000, () => '{{') })))
  expect(faults).not.toEqual([])
  expect(sizeOf(faults)).toBeLessThan(200 * 3_200)
  // What stands in no pointer may stand in a sentence.
  const loop = { id: 'b', kind: 'foreach', items: [], as: long, steps: transform('{{ x }}{{ y }}') }
  expect(sizeOf(validateDefinition(recipe([loop])).faults)).toBeLessThan(20_000)
})

test.each<[string, unknown]>([
  ['references', recipe(transform(many(2_500, (i) => `{{x${i}}}`).join('')))],
  ['unknown fields', { ...recipe(transform(1)), ...Object.fromEntries(many(20_000, (i) => [`k${i}`, 0])) }],
  ['expressions that cannot work', recipe(transform(many(300, (i) => ({ $expr: `1 + 'a${i}'` }))))],
])('of hundreds and thousands of faulty %s two hundred are told of', (_, definition) => {
  const { definition: parsed, faults } = validateDefinition(definition)
  expect(parsed).toBeNull()
  expect(faults).toHaveLength(200)
  expect(new Set(faults.map((fault) => JSON.stringify(fault))).size).toBe(200)
})

test.each<[string, unknown, string]>([
  ['steps', recipe(many(50_000, () => 0)), 'must be at most 200 steps in all, not 50000'],
  ['steps inside of steps', recipe([{ kind: 'foreach', steps: many(300, () => ({})) }]), 'not 301'],
  ['outputs', recipe(transform(many(5_001, () => '{{now}}'))), 'must have at most 5000 expressions, outputs and tags'],
  ['expressions', recipe(transform(many(5_000, (i) => ({ $expr: `${i}` })))), 'must have at most 5000 expressions'],
  ['characters of expressions', recipe(many(21, (i) => ({ id: `a${i}`, when: '1+'.repeat(5_000) }))), 'at most 5000'],
  [
    'patterns',
    recipe(transform(1), { inputs: { allOf: many(20, (i) => ({ pattern: `(${i}{60}){60}` })) } }),
    'is too large together with the other patterns',
  ],
])('too many %s are one fault, and nothing else is looked at', (_, definition, detail) => {
  const { faults } = validateDefinition(definition)
  expect(faults).toHaveLength(1)
  expect(faults[0]!.detail).toContain(detail)
})

const request = (url: string) => [{ id: 'a', kind: 'http', request: { method: 'GET', url } }]

test('an address of thousands of braces that nothing closes is a fault like any other', () => {
  const { faults } = validateDefinition(recipe(request(`https://example.org/${'{'.repeat(9_000)}`)))
  expect(faults.map(({ pointer }) => pointer)).toEqual(['/steps/0/request/url'])
})

test.each([
  ['https://example.org/{{ secret("a.b") }}', 1],
  ['https://example.org/{% if input.a == "?" %}x{% endif %}{{ secret("ab.c") }}', 1],
  ['https://example.org/{{ input.a | default: "?" }}?key={{ secret("ab.c") }}', 0],
  ['https://example.org/?key={{ secret("ab.c") }}', 0],
])('in %s a secret before the query makes %i faults', (url, count) => {
  const { faults } = validateDefinition(recipe(request(url.replace('a.b', 'ab.c'))))
  expect(faults).toHaveLength(count)
})
