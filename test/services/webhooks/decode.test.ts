import { expect, test } from 'vitest'
import { decodeBody } from '../../../src/services/webhooks/decode.ts'

const form = (text: string) => decodeBody(new TextEncoder().encode(text), 'application/x-www-form-urlencoded')

test('a form has at most ten thousand fields, told before any of them is read', () => {
  expect(form(`${'a=1&'.repeat(9_999)}a=2`)).toMatchObject({ a: { length: 10_000 } })
  expect(() => form(`${'a=1&'.repeat(10_000)}a=2`)).toThrow('A form takes 10000 fields at most.')
})
