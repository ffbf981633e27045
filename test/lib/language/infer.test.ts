import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Json } from '../../../src/lib/json.ts'
import { checkExpression, evaluateExpression } from '../../../src/lib/language/expression.ts'
import { functions } from '../../../src/lib/language/functions/index.ts'
import { inferExpression } from '../../../src/lib/language/infer.ts'
import { LanguageError } from '../../../src/lib/language/scope.ts'
import { anyJson, either, listOf, mapOf, typeOf, type Type } from '../../../src/lib/language/types.ts'
import { kindOf } from '../../../src/lib/language/values.ts'

const seed = Number(process.env['TYPES_SEED'] ?? Date.now() % 1_000_000)
const numRuns = Number(process.env['TYPES_RUNS'] ?? 3_000)

const person = mapOf({ first: typeOf('string'), age: either(typeOf('number'), typeOf('null')) }, true)
const scope = {
  n: typeOf('number'),
  s: typeOf('string'),
  b: typeOf('bool'),
  maybe: either(typeOf('string'), typeOf('null')),
  list: listOf(typeOf('number')),
  people: listOf(person),
  person,
  odd: either(typeOf('number'), listOf(typeOf('string'))),
  any: anyJson,
}
const text = fc.constantFrom('', 'a', '1', 'true', '2026-01-01T00:00:00Z', '1h', 'UTC', '{"a": 1}', 'yyyy')
const number = fc.constantFrom(0, 1, -1, 2.5, 1_700_000_000)
const aPerson = fc.record({ first: text, age: fc.option(number) })
const world = fc.record({
  n: number,
  s: text,
  b: fc.boolean(),
  maybe: fc.option(text),
  list: fc.array(number, { maxLength: 3 }),
  people: fc.array(aPerson, { maxLength: 3 }),
  person: aPerson,
  odd: fc.oneof(number, fc.array(text, { maxLength: 2 })),
  any: fc.jsonValue({ maxDepth: 2 }) as fc.Arbitrary<Json>,
})
const worlds = fc.sample(world, { numRuns: 30, seed })

const leaves = [
  ...Object.keys(scope),
  'person.first',
  'person.age',
  'person.nme',
  'people[0]',
  'any.x',
  ...['0', '1', '"a"', '"1h"', '"2026-01-01T00:00:00Z"', 'true', 'null', '[]', '[1, "a"]', '{"a": 1}'],
]
const operators = ['==', '!=', '<', '<=', '>', '>=', 'in', '+', '-', '*', '/', '%', '&&', '||']
const { expression } = fc.letrec<{ expression: string }>((tie) => ({
  expression: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom(...leaves),
    fc
      .tuple(tie('expression'), fc.constantFrom(...operators), tie('expression'))
      .map(([left, operator, right]) => `(${left} ${operator} ${right})`),
    fc.tuple(tie('expression'), tie('expression'), tie('expression')).map(([a, b, c]) => `(${a} ? ${b} : ${c})`),
    fc.tuple(fc.constantFrom('-', '!'), tie('expression')).map(([sign, of]) => `${sign}(${of})`),
    fc.tuple(tie('expression'), fc.constantFrom('first', 'age', 'a')).map(([of, name]) => `(${of}).${name}`),
    fc.tuple(tie('expression'), tie('expression')).map(([of, index]) => `(${of})[${index}]`),
    fc
      .tuple(tie('expression'), fc.constantFrom('map', 'filter', 'all', 'exists', 'sort_by'), tie('expression'))
      .map(([of, loop, body]) => `(${of}).${loop}(v, ${body.replace(/\bn\b/g, 'v')})`),
    fc
      .tuple(fc.constantFrom(...Object.keys(functions)), fc.array(tie('expression'), { minLength: 1, maxLength: 3 }))
      .map(([name, args]) => `${name}(${args.join(', ')})`),
    fc.tuple(tie('expression'), tie('expression')).map(([value, body]) => `cel.bind(v, ${value}, ${body} == v)`),
  ),
}))

/** The value, or undefined where the evaluation fails. */
function valueOf(source: string, scope: { [name: string]: Json }): Json | undefined {
  try {
    return evaluateExpression(source, scope)
  } catch (error) {
    if (error instanceof LanguageError) return undefined
    throw error
  }
}

const admits = ({ kinds }: Type, value: Json): boolean =>
  kinds.has(kindOf(value)) || (typeof value === 'string' && (kinds.has('timestamp') || kinds.has('duration')))

test(`what is told of as a fault fails with every value, and what comes out has the type that was told (TYPES_SEED=${seed})`, () => {
  let faulty = 0
  fc.assert(
    fc.property(expression, (source) => {
      if (checkExpression(source).faults.length > 0) return
      const { type, faults } = inferExpression(source, scope)
      for (const fault of faults) {
        // What is inside of a loop names its variable, and is nothing by itself.
        if (checkExpression(fault.source).references.some(({ root }) => root === 'v')) continue
        faulty++
        for (const each of worlds) {
          const value = valueOf(fault.source, each)
          const isCondition = fault.detail.endsWith('true or false') || fault.detail.includes('must be true or false')
          if (value !== undefined && !(isCondition && typeof value !== 'boolean'))
            throw new Error(`${fault.detail}, and gives ${JSON.stringify(value)} in ${JSON.stringify(each)}`)
        }
      }
      for (const each of worlds) {
        const value = valueOf(source, each)
        if (value !== undefined && !admits(type, value))
          throw new Error(`${source} gives ${JSON.stringify(value)}, not ${[...type.kinds].join()}`)
      }
    }),
    { seed, numRuns },
  )
  expect(faulty).toBeGreaterThan(numRuns / 20)
}, 60_000)

test(`no call that works is told of as one that cannot (TYPES_SEED=${seed})`, () => {
  const argument = fc.constantFrom(
    ...'0 1 2 -1 2.5 100 "" "a" "a,b" "b.c" "true" "0" "-1h" "PT20S" "desc" "Europe/Berlin" "2026-03-01" "[1]"'.split(
      ' ',
    ),
    ...'"^a+$" null true [] [1,2] ["b","a"] [[1]] [{"a":2},{"a":1}] {} {"a":{"b":1}} duration("90s")'.split(' '),
    '"MMM d"',
    '"Sun, 06 Nov 1994 08:49:37 GMT"',
    'timestamp("2026-03-01")',
    '[timestamp("2026-03-01")]',
  )
  const call = fc
    .tuple(fc.constantFrom(...Object.keys(functions)), fc.array(argument, { minLength: 1, maxLength: 3 }))
    .map(([name, args]) => `${name}(${args.join(', ')})`)
  const pair = fc
    .tuple(argument, fc.constantFrom(...operators), argument)
    .map(([left, operator, right]) => `${left} ${operator} ${right}`)
  let worked = 0
  fc.assert(
    fc.property(fc.oneof(call, pair), (source) => {
      if (checkExpression(source).faults.length > 0) return
      const value = valueOf(source, {})
      if (value === undefined) return
      worked++
      const { type, faults } = inferExpression(source, {})
      if (/ (&&|\|\|) /.test(source)) return
      expect(faults).toEqual([])
      expect([source, admits(type, value)]).toEqual([source, true])
    }),
    { seed, numRuns },
  )
  expect(worked).toBeGreaterThan(numRuns / 20)
}, 60_000)

test.each([
  ['n + "x"', 'n + "x" can never work: a number + a text is not defined; string() makes text'],
  ['s > 3', 's > 3 can never work: a text > a number is not defined'],
  ['size(n)', 'size(n) can never work: size() does not take a number'],
  ['n[0]', 'n[0] can never work: a number has no element at a number'],
  ['s.map(x, x)', 's.map(x, x) can never work: a text cannot be looped over'],
  ['person.frist', "person.frist can never work: there is no 'frist' among first, age"],
  ['people.map(x, x.first + 1)', 'x.first + 1 can never work: a text + a number is not defined; string() makes text'],
  ['b && s < n', 's < n can never work: a text < a number is not defined'],
  ['s ? 1 : 2', 's can never work: it must be true or false, and is a text'],
  ['maybe * 2', 'maybe * 2 can never work: a text or null * a number is not defined'],
])('%s is a fault', (source, detail) => {
  expect(inferExpression(source, scope).faults).toEqual([{ detail, source: expect.any(String) }])
})

test.each([
  'any + "x"',
  'maybe == null ? 0 : size(maybe)',
  'odd + 1',
  'size(odd)',
  's - s',
  'timestamp(s) > s',
  'unknown.name * 2',
  'first(people).age > 3',
  'get(person, "nme", 1) + 1',
  'has(person.nme)',
  'sum(people.map(x, x.age))',
])('%s may work', (source) => {
  expect(inferExpression(source, scope).faults).toEqual([])
})
