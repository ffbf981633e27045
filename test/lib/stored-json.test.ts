import { expect, test, vi } from 'vitest'
import { inStoredOrder } from '../../src/lib/stored-json.ts'

test('shorter keys come first, then those whose bytes are smaller', () => {
  const value = { bb: 1, a: { é: 1, zz: 2, b: 3 }, ä: 2, ab: 3, '😀': 4, abc: 5, z: 6 }
  expect(Object.keys(inStoredOrder(value) as object)).toEqual(['a', 'z', 'ab', 'bb', 'ä', 'abc', '😀'])
  expect(Object.keys((inStoredOrder(value) as { a: object }).a)).toEqual(['b', 'zz', 'é'])
})

test('each key is turned into bytes once, however often it is compared', () => {
  const encode = vi.spyOn(TextEncoder.prototype, 'encode')
  inStoredOrder(Object.fromEntries(Array.from({ length: 1_000 }, (_, i) => [`é${(i * 7919) % 1_000}`, i])))
  expect(encode).toHaveBeenCalledTimes(1_000)
  encode.mockRestore()
})
