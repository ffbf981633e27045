import { expect, test } from 'vitest'
import { createCipher } from '../../src/runtime/cipher.ts'

const keyOf = (id: string, fill: string) => `${id}:${btoa(fill.repeat(32))}`
const cipher = createCipher(keyOf('k1', 'a'))

test('what was signed verifies, for its text and its purpose alone', async () => {
  const signature = await cipher.sign('text', 'ticket')
  expect(signature).toMatch(/^k1\.[A-Za-z0-9_-]{43}$/)
  expect(await cipher.verify('text', signature, 'ticket')).toBe(true)
  expect(await cipher.verify('other', signature, 'ticket')).toBe(false)
  expect(await cipher.verify('text', signature, 'other')).toBe(false)
  expect(await cipher.sign('text', 'other')).not.toBe(signature)
})

test('the same ring signs alike in every process', async () => {
  expect(await createCipher(keyOf('k1', 'a')).sign('text', 'ticket')).toBe(await cipher.sign('text', 'ticket'))
})

test('after a rotation the new key signs and the old one still verifies, until it is taken out', async () => {
  const before = await cipher.sign('text', 'ticket')
  const rotated = createCipher(`${keyOf('k2', 'b')},${keyOf('k1', 'a')}`)
  expect(await rotated.sign('text', 'ticket')).toMatch(/^k2\./)
  expect(await rotated.verify('text', before, 'ticket')).toBe(true)
  expect(await createCipher(keyOf('k2', 'b')).verify('text', before, 'ticket')).toBe(false)
})

test('another key under the same id verifies nothing', async () => {
  const signature = await createCipher(keyOf('k1', 'b')).sign('text', 'ticket')
  expect(await cipher.verify('text', signature, 'ticket')).toBe(false)
})

test.each(['', 'k1', 'k1.', '.', `k1.${'A'.repeat(43)}`, 'k1.AAAA', `k9.${'A'.repeat(43)}`, 'k1.!!!', 'k1.a.b'])(
  'no signature verifies: %j',
  async (signature) => {
    expect(await cipher.verify('text', signature, 'ticket')).toBe(false)
  },
)
