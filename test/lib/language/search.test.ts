import fc from 'fast-check'
import { expect, test, vi } from 'vitest'
import { placeOf, splitBy } from '../../../src/lib/language/search.ts'

const text = fc.array(fc.constantFrom('a', 'b', 'ab', 'aab', '😀'), { maxLength: 60 }).map((parts) => parts.join(''))

test('finds and splits as the platform does', () => {
  fc.assert(
    fc.property(text, text, (whole, part) => {
      expect(placeOf(whole, part)).toBe(whole.indexOf(part))
      if (part !== '') expect(splitBy(whole, part)).toEqual(whole.split(part))
    }),
    { numRuns: 2_000 },
  )
  expect(placeOf('abc', '')).toBe(0)
})

test.each([
  ['b in the middle', `${'a'.repeat(2_000)}b${'a'.repeat(2_000)}`],
  ['b at the end', `${'a'.repeat(4_000)}b`],
  ['b at the beginning', `b${'a'.repeat(4_000)}`],
])('a text is read a few times at most, however alike the part is: %s', (_, part) => {
  const read = vi.spyOn(String.prototype, 'charCodeAt')
  const place = placeOf('a'.repeat(10_000), part)
  const times = read.mock.calls.length
  read.mockRestore()
  expect(place).toBe(-1)
  expect(times).toBeLessThan(6 * (10_000 + part.length))
})
