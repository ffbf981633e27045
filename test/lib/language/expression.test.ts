import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Json } from '../../../src/lib/json.ts'
import { checkExpression, evaluateExpression } from '../../../src/lib/language/expression.ts'
import { LanguageError } from '../../../src/lib/language/scope.ts'

const scope = {
  input: { x: 4, half: 0.5, name: 'Ada', nothing: null, list: [3, 1, 2] },
  now: '2026-03-01T10:00:00.000Z',
  previous: null,
  numbers: Array.from({ length: 3000 }, (_, index) => index),
  long: `${'a'.repeat(100_000)}a`,
  longer: `${'a'.repeat(100_000)}b`,
}
const evaluate = (source: string) => evaluateExpression(source, scope)

test.each<[string, Json]>([
  ['input.x + 1', 5],
  ['1 + input.x', 5],
  ['input.x * 0.5', 2],
  ['7 / 2', 3.5],
  ['7.0 / 2', 3.5],
  ['7 % 4', 3],
  ['-input.x', -4],
  ['1 + 2 * 3 - 4', 3],
  ['2.0', 2],
  ['9007199254740991', 9007199254740991],
  ['0xff', 255],
  ['input.x == 4.0', true],
  ['1 == 1.0', true],
  ['1 < 1.5', true],
  ['1 == "1"', false],
  ['input.nothing == null', true],
  ['[1, {"a": [2]}] == [1.0, {"a": [2]}]', true],
  ['{"a": 1} != {"a": 1, "b": 2}', true],
  ['"a" < "b"', true],
  ['input.x in [1, 4.0]', true],
  ['"x" in input', true],
  ['"toString" in input', false],
  ['input.x > 3 ? "big" : "small"', 'big'],
  ['"Hello " + input.name', 'Hello Ada'],
  ['[1] + [2]', [1, 2]],
  ['!(1 > 2) && true', true],
  ['true || input.nope', true],
  ['input.nope || true', true],
  ['false && input.nope', false],
  ['timestamp(now) < timestamp("2026-04-01T00:00:00Z")', true],
  ['now < timestamp("2026-04-01T00:00:00Z")', true],
  ['timestamp(now) == "2026-03-01T11:00:00+01:00"', true],
  ['{"at": timestamp(now), "for": duration("90s")}', { at: '2026-03-01T10:00:00.000Z', for: '1m30s' }],
  ['previous == null ? "first" : "again"', 'first'],
  [
    '[1, 2].map(a, [10, 20].map(a, a + 1))',
    [
      [11, 21],
      [11, 21],
    ],
  ],
  [
    '[1, 2].map(a, [10, 20].map(b, a * b))',
    [
      [10, 20],
      [20, 40],
    ],
  ],
  ['[[1, 2], [3]].map(a, a.map(b, b + a.size()))', [[3, 4], [4]]],
  ['"line\\nbreak"', 'line\nbreak'],
])('%s', (source, expected) => {
  expect(evaluate(source)).toEqual(expected)
})

test.each([
  ['input.nope', "input.nope: there is no 'nope'. Ask with has() or read it with get()."],
  ['previous.output', 'previous.output: a null has no members. Ask with has() or read it with get().'],
  ['input.list[3]', 'input.list[3]: the list has 3 elements, there is no [3].'],
  ['input.list["0"]', /a list is indexed by whole numbers/],
  ['nope', 'Unknown name: nope.'],
  ['{name: 1}', 'Unknown name: name.'],
  ['"a" + 1', 'A string + a number is not defined; string() makes text.'],
  ['input.x && true', 'input.x must be true or false, not a number.'],
  ['1 / 0', 'Division by zero.'],
  ['1e308 * 10', 'The number is too large.'],
  ['1 < "a"', 'A number and a string cannot be ordered.'],
  ['"a" in "abc"', /for text use contains/],
])('%s fails in words', (source, message) => {
  expect(() => evaluate(source)).toThrow(message)
  expect(() => evaluate(source)).toThrow(LanguageError)
})

describe('a check without a scope', () => {
  test.each([
    ['1 +', 'Unexpected token: EOF at character 4.'],
    ['nope(1)', 'Unknown function: nope().'],
    ['size()', 'size() takes 1 arguments (the value before the dot counts), not 0.'],
    ['[1].map(x)', 'map() wants a variable name and an expression: list.map(x, ...).'],
    ['has(input)', 'has() wants a path that ends in a key: has(a.b).'],
    ['"a".matches("(")', "The pattern '(' has a ( without its )."],
    ['9007199254740993', '9007199254740993 is too large for a JSON number.'],
    ['b"x"', 'Byte strings are not supported: use text.'],
    ['1u', 'Unsigned numbers are not supported: leave out the u.'],
  ])('%s', (source, fault) => {
    expect(checkExpression(source).faults).toEqual([fault])
    expect(() => evaluate(source)).toThrow(fault)
  })

  test('names every fault at once', () => {
    expect(checkExpression('foo(1) + bar(2)').faults).toEqual(['Unknown function: foo().', 'Unknown function: bar().'])
  })
})

test('references name what is used of the scope, as far as it is written out, and no loop variables', () => {
  const source =
    'steps.fetch.output.body.items.filter(i, i.size > input.min[0]).map(i, {"a": i.x, "b": steps[input.key].output}) ' +
    '+ get(steps, "other.output[0]") + cel.bind(y, run.id, [y]) + (has(previous.output.z) ? [trigger["kind"]] : [])'
  expect(checkExpression(source)).toEqual({
    faults: [],
    references: [
      { root: 'steps', path: ['fetch', 'output', 'body', 'items'] },
      { root: 'input', path: ['min', '0'] },
      { root: 'steps', path: [] },
      { root: 'input', path: ['key'] },
      { root: 'steps', path: ['other', 'output', '0'] },
      { root: 'run', path: ['id'] },
      { root: 'previous', path: ['output', 'z'] },
      { root: 'trigger', path: ['kind'] },
    ],
  })
})

describe('hostile input', () => {
  test.each([
    'input.__proto__',
    'input.constructor',
    'input["__proto__"]',
    'input["constructor"]["constructor"]',
    'constructor',
    'toString',
    'globalThis',
    'process',
    'get(input, "__proto__") == null ? nope : 1',
    '"a".constructor',
    '[].constructor("x")',
    '"a".toString()',
    'input.hasOwnProperty("x")',
    'duration("1s").ms',
    'timestamp(now).ms',
  ])('%s reaches nothing', (source) => {
    expect(() => evaluate(source)).toThrow(LanguageError)
  })

  test('an own __proto__ key is data, in and out, and changes no prototype', () => {
    const value = { input: JSON.parse('{"__proto__": {"x": 1}}') as Json }
    expect(JSON.stringify(evaluateExpression('merge(input, {"__proto__": {"y": 2}})', value))).toBe(
      '{"__proto__":{"y":2}}',
    )
    expect(evaluateExpression('input["__proto__"].x', value)).toBe(1)
    expect(({} as Record<string, unknown>)['y']).toBeUndefined()
  })

  test.each([
    ['a loop in a loop', 'numbers.map(x, numbers.map(y, x * y))'],
    ['loops that make nothing', 'numbers.all(x, numbers.all(y, numbers.all(z, true)))'],
    ['a text in a loop', 'numbers.map(x, json(numbers))'],
    ['a shared part unfolded', unfolded(22)],
    ['equality in a loop', 'numbers.map(x, numbers == numbers + [])'],
    ['a sort in a loop', 'numbers.map(x, sort_by(numbers))'],
    ['a hash in a loop', 'numbers.map(x, hash(numbers))'],
    ['a text search in a loop', 'cel.bind(t, json(numbers + numbers + numbers), numbers.map(x, t.contains("zz")))'],
    ['a pattern in a loop', 'cel.bind(t, json(numbers), numbers.map(x, t.matches("(a|b|[0-9])*z")))'],
    ['another large pattern each time', 'numbers.all(x, !"".matches("(a{200}){9}" + string(x)))'],
    ['a replacement that grows', 'numbers.map(x, json(numbers).replace(",", json(numbers)))'],
    ['long texts that differ at their end', 'numbers.all(x, long != longer && long < longer)'],
    ['failures that are absorbed', 'numbers.slice(0, 200).all(x, numbers.slice(0, 100).all(y, x.nothing || true))'],
  ])('%s ends by its budget', (_, source) => {
    expect(() => evaluate(source)).toThrow(/too much work|too much data|larger than/)
  })

  test('a budget that is spent is not absorbed by ||', () => {
    expect(() => evaluate('numbers.all(x, numbers.all(y, true)) || true')).toThrow(/too much work/)
  })

  test('a result may have a megabyte and no more', () => {
    const text = 'x'.repeat(300_000)
    expect(evaluateExpression('[t, t, t]', { t: text })).toEqual([text, text, text])
    expect(() => evaluateExpression('[t, t, t, t]', { t: text })).toThrow('larger than 1000000 characters')
  })

  test.each([
    ['brackets', `${'['.repeat(10_000)}`],
    ['parentheses', `${'('.repeat(4000)}1${')'.repeat(4000)}`],
    ['negations', `${'!'.repeat(9000)}true`],
    ['nested calls', `${'size('.repeat(70)}1${')'.repeat(70)}`],
    ['members', `input${'.a'.repeat(4900)}`],
    ['a long sum', `1${' + 1'.repeat(2400)}`],
    ['a long text', ' '.repeat(20_000)],
  ])('%s are a fault, not a crash', (_, source) => {
    expect(checkExpression(source).faults).toHaveLength(1)
  })

  test('what is allowed to be long is evaluated, and nested has() is compiled once a level', () => {
    expect(evaluate(`1${' + 1'.repeat(1400)}`)).toBe(1401)
    const nested = `${'has('.repeat(25)}input.x${'.y)'.repeat(25)}`
    expect(() => evaluate(nested)).not.toThrow()
  })

  test('data of any depth is handled', () => {
    let deep: Json = 1
    for (let level = 0; level < 10_000; level += 1) deep = [deep]
    for (const source of ['d', 'hash(d)', 'd == [d]', 'json(d)']) {
      expect(() => evaluateExpression(source, { d: deep })).toThrow(/nested deeper|nested too deeply/)
    }
    expect(evaluateExpression('size(d)', { d: deep })).toBe(1)
  })

  test('any text is a value or a LanguageError', () => {
    const words = [
      'input',
      '.x',
      '[0]',
      '(',
      ')',
      ' + ',
      '1',
      '"a"',
      'map(',
      'y, ',
      '{',
      '}',
      ':',
      'has(',
      '-',
      '!',
      '?',
      ' in ',
    ]
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...words), { maxLength: 12 }), (parts) => {
        const source = parts.join('')
        try {
          JSON.stringify(evaluate(source))
        } catch (error) {
          expect(error).toBeInstanceOf(LanguageError)
        }
      }),
      { numRuns: 500 },
    )
  })
})

/** `cel.bind(x1, [x0, x0], cel.bind(x2, [x1, x1], …))`: small text, 2^n leaves. */
function unfolded(levels: number): string {
  let source = `[x${levels}]`
  for (let level = levels; level > 0; level -= 1)
    source = `cel.bind(x${level}, [x${level - 1}, x${level - 1}], ${source})`
  return `cel.bind(x0, [1], ${source})`
}

test('the same source over another scope gives another value: only programs are cached', () => {
  expect(evaluateExpression('a + 1', { a: 1 })).toBe(2)
  expect(evaluateExpression('a + 1', { a: 2 })).toBe(3)
})

test('a scope is never changed', () => {
  const value = { list: [3, 1, 2], map: { a: 1 } }
  evaluateExpression('[sort_by(list), reverse(list), list + [4], merge(map, {"b": 2})]', value)
  expect(value).toEqual({ list: [3, 1, 2], map: { a: 1 } })
})
