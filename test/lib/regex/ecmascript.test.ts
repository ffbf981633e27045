import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ecmascriptRegex } from '../../../src/lib/regex/ecmascript.ts'

const atom = fc.constantFrom(
  'a',
  'b',
  '.',
  '[ab]',
  '[^a]',
  '\\d',
  '\\w',
  '\\b',
  '^',
  '$',
  'ä',
  '\\u{1F600}',
  '\\p{L}',
  '😀',
  '\\.',
)
const pattern = fc.letrec((tie) => ({
  node: fc.oneof(
    { maxDepth: 4 },
    atom,
    fc.tuple(tie('node'), tie('node')).map(([a, b]) => `${a}${b}`),
    fc.tuple(tie('node'), tie('node')).map(([a, b]) => `(?:${a}|${b})`),
    fc.tuple(tie('node'), fc.constantFrom('*', '+', '?', '{2}', '{1,3}', '{0,}', '*?')).map(([a, q]) => `(${a})${q}`),
  ),
})).node as fc.Arbitrary<string>
const text = fc
  .array(fc.constantFrom('a', 'b', '1', '.', ' ', 'ä', '😀', '\n'), { maxLength: 6 })
  .map((parts) => parts.join(''))

test('answers as the RegExp of the platform', () => {
  fc.assert(
    fc.property(pattern, text, (source, subject) => {
      expect(ecmascriptRegex(source).test(subject, () => {})).toBe(new RegExp(source, 'u').test(subject))
    }),
    { numRuns: 3_000 },
  )
})

test.each([
  ['^[a-z]+(-[a-z]+)*$', 'a-slug-like-this', true],
  ['^[a-z]+(-[a-z]+)*$', 'a--b', false],
  ['^\\d{4}-\\d{2}$', '2026-11', true],
  ['[\\]x-]', '-', true],
  ['(?<year>\\d+)', 'in 2026', true],
  ['\\uD83D\\uDE00', '😀', true],
  ['()', '', true],
])('%s on %j is %j', (source, subject, expected) => {
  expect(ecmascriptRegex(source).test(subject, () => {})).toBe(expected)
})

test.each([
  ['^(a+)+$', `${'a'.repeat(10_000)}!`],
  ['(a|a)*(a|aa)*b', 'a'.repeat(10_000)],
])('%s, which makes backtracking engines hang, takes steps in proportion to the text', (source, subject) => {
  const regex = ecmascriptRegex(source)
  let taken = 0
  expect(regex.test(subject, (steps) => (taken += steps))).toBe(false)
  expect(taken).toBeLessThanOrEqual((subject.length + 1) * regex.size)
})

test('whoever counts the steps can end a search', () => {
  const stop = new Error('enough')
  let taken = 0
  const use = (steps: number) => {
    taken += steps
    if (taken > 100_000) throw stop
  }
  expect(() => ecmascriptRegex('(a?){500}b').test('a'.repeat(200_000), use)).toThrow(stop)
})

test.each([
  '(',
  '[',
  '(?=a)',
  '(?<!a)b',
  '(a)\\1',
  '(?<n>a)\\k<n>',
  'a{99999}',
  '(a{99}){99}',
  '(){999999999}',
  'x'.repeat(2_000),
])('refuses %s', (source) => {
  expect(() => ecmascriptRegex(source)).toThrow(SyntaxError)
})
