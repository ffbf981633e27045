import { expect, test } from 'vitest'
import { mostItCosts } from '../../../src/services/models/estimate.ts'

const price = {
  input_usd: '1',
  cached_input_usd: '0.1',
  cache_write_usd: null,
  output_usd: '10',
  price_limit_tokens: null,
}
const asked = (text: string, maxOutputTokens?: number) => ({
  prompt: [{ role: 'user' as const, content: [{ type: 'text' as const, text }] }],
  ...(maxOutputTokens !== undefined && { maxOutputTokens }),
})

test('is the whole prompt without the cache, and the longest answer', () => {
  const short = mostItCosts(asked('', 1000), price, null)!
  expect(Number(short)).toBeGreaterThan(0.01)
  expect(Number(short)).toBeLessThan(0.0101)
  expect(Number(mostItCosts(asked('x'.repeat(3_000_000), 1000), price, null)) - Number(short)).toBeCloseTo(1, 6)
  // The call's own bound, else the model's, else a usual one.
  expect(Number(mostItCosts(asked(''), price, 64_000))).toBeCloseTo(0.64, 3)
  expect(Number(mostItCosts(asked(''), price, null))).toBeCloseTo(0.08192, 3)
})

test('takes the dearest price that may hold', () => {
  const text = 'x'.repeat(300_000)
  const plain = Number(mostItCosts(asked(text, 1), price, null))
  expect(Number(mostItCosts(asked(text, 1), { ...price, cache_write_usd: '2' }, null))).toBeCloseTo(2 * plain, 3)
  expect(Number(mostItCosts(asked(text, 1), { ...price, price_limit_tokens: 1000 }, null))).toBeCloseTo(2 * plain, 6)
  expect(mostItCosts(asked(text), { ...price, output_usd: null }, null)).toBeNull()
})

test('counts files apart from what their bytes would be as text', () => {
  const data = new Uint8Array(1_000_000)
  const file = { type: 'file' as const, mediaType: 'image/png', data: { type: 'data' as const, data } }
  const cost = Number(mostItCosts({ prompt: [{ role: 'user', content: [file] }], maxOutputTokens: 1 }, price, null))
  expect(cost).toBeGreaterThan(0.013)
  expect(cost).toBeLessThan(0.0132)
})
