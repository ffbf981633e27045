import { expect, test } from 'vitest'
import { masked } from '../../../src/services/audit/mask.ts'

const token = `eyJ${'a'.repeat(20)}.eyJ${'b'.repeat(20)}.${'c'.repeat(20)}`

test.each([
  [token, '***'],
  [`Bearer ${token}, and`, 'Bearer ***, and'],
  [`a.${token}`, 'a.***'],
  [`token=${token}`, 'token=***'],
  [`prefix-${token}`, '***'],
  ['eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.', '***'],
  ['eyJ is no token', 'eyJ is no token'],
  ['eyJabc.def.ghi', 'eyJabc.def.ghi'],
])('of %j the log keeps %j', (text, kept) => {
  expect(masked({ text })).toEqual({ text: kept })
})

test('what only looks like the beginnings of tokens, a quarter of a megabyte of it, is text', () => {
  const text = 'eyJ-'.repeat(64_000)
  expect(masked({ text })).toEqual({ text: `${text.slice(0, 1000)}… (${text.length} characters)` })
})
