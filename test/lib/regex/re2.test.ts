import fc from 'fast-check'
import { expect, test } from 'vitest'
import { re2Regex } from '../../../src/lib/regex/re2.ts'

const matches = (pattern: string, text: string) => re2Regex(pattern).test(text, () => undefined)

test.each([
  ['a', 'bab', true],
  ['^a', 'ba', false],
  ['a$', 'ba', true],
  ['^$', '', true],
  ['', 'x', true],
  ['a.c', 'abc', true],
  ['a.c', 'a\nc', false],
  ['(?s)a.c', 'a\nc', true],
  ['(?m)^b$', 'a\nb\nc', true],
  ['^b$', 'a\nb', false],
  ['ab*c', 'ac', true],
  ['ab+c', 'ac', false],
  ['ab?c', 'abbc', false],
  ['^(ab|cd)+$', 'abcdab', true],
  ['^(ab|cd)+$', 'abc', false],
  ['^(?:a|b|)c$', 'c', true],
  ['^[a-c_]+$', 'ab_c', true],
  ['^[^0-9]+$', 'ab1', false],
  ['^[]a]+$', ']a', true],
  ['^[a-]+$', 'a-', true],
  ['^\\d{3}-\\d{2,4}$', '123-4567', true],
  ['^\\d{3}-\\d{2,4}$', '123-4', false],
  ['^a{0,1}$', 'aa', false],
  ['^a{2,}$', 'aaaa', true],
  ['\\bcat\\b', 'a cat sat', true],
  ['\\bcat\\b', 'concat', false],
  ['^\\w+@\\w+\\.\\w{2,}$', 'a@b.org', true],
  ['(?i)straße', 'STRASSE Straße', true],
  ['(?i)[a-z]+9', 'ABC9', true],
  ['(?i)^[^a-z]$', 'B', false],
  ['^(a*)*$', 'aaa', true],
  ['^(){3}b{,2}$', 'b{,2}', true],
  ['^\\x41\\u0042\\n$', 'AB\n', true],
  ['^.$', '😀', true],
  ['(?P<year>\\d+)', 'in 2026', true],
  ['a+?b', 'aab', true],
  ['\\$1\\.00', '$1.00', true],
])('%s on %j', (pattern, text, expected) => {
  expect(matches(pattern, text)).toBe(expected)
})

test.each([
  '(',
  ')',
  '[',
  'a**',
  'a{2}{3}',
  'a++',
  '*a',
  '{2}a',
  'a|{2}',
  '(?=a)',
  '(?<!a)b',
  '\\1',
  '[b-a]',
  'a{3,1}',
  'a{1,1001}',
  'a{99999}',
  `[${'ab'.repeat(40)}]`,
  '\\',
  '\\q',
  '((a{200}){200}){200}',
  '('.repeat(40) + ')'.repeat(40),
  'a'.repeat(501),
])('%s is refused', (pattern) => {
  expect(() => matches(pattern, 'a')).toThrow(SyntaxError)
})

test('patterns that drive backtracking engines into exponential work take linear steps', () => {
  const text = 'a'.repeat(2000)
  for (const pattern of ['^(a+)+$', '^(a|a)*b', '^(a*)*b$', 'a*a*a*a*a*b', '(.*)(.*)(.*)x$']) {
    let steps = 0
    re2Regex(pattern).test(text, (count) => (steps += count))
    expect(steps, pattern).toBeLessThan(30 * text.length)
  }
})

test("agrees with the engine's own regular expressions on the common syntax", () => {
  const atom = fc.constantFrom('a', 'b', '.', '[ab]', '[^a]', '\\d', '(a|b)', '(ab)', '(?:b|)')
  const piece = fc.tuple(atom, fc.constantFrom('', '*', '+', '?', '{1,2}')).map(([part, count]) => part + count)
  const pattern = fc
    .tuple(fc.constantFrom('', '^'), fc.array(piece, { minLength: 1, maxLength: 4 }), fc.constantFrom('', '$'))
    .map(([start, parts, end]) => start + parts.join('') + end)
  fc.assert(
    fc.property(pattern, fc.string({ unit: fc.constantFrom('a', 'b', '1', '\n'), maxLength: 8 }), (source, text) => {
      expect(matches(source, text)).toBe(new RegExp(source).test(text))
    }),
    { numRuns: 1000 },
  )
})
