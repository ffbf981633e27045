import { expect, test } from 'vitest'
import { createMemoryKv } from '../../src/runtime/memory-kv.ts'

const still = { monotonicMs: () => 0 }

test('memory is bounded in keys: what was written longest ago goes first', async () => {
  const kv = createMemoryKv(still, { maxKeys: 3 })
  for (const key of ['a', 'b', 'c']) await kv.set(key, key, 60)
  await kv.set('a', 'again', 60)
  await kv.set('d', 'd', 60)
  expect(await Promise.all(['a', 'b', 'c', 'd'].map((key) => kv.get(key)))).toEqual(['again', null, 'c', 'd'])
})

test('memory is bounded in length, however few the keys', async () => {
  const kv = createMemoryKv(still, { maxLength: 100 })
  for (let i = 0; i < 50; i++) await kv.set(`k${i}`, 'x'.repeat(20), 60)
  const kept = await Promise.all(Array.from({ length: 50 }, (_, i) => kv.get(`k${i}`)))
  expect(kept.findIndex((value) => value !== null)).toBe(46)
  // Room that was given back can be used again.
  for (let i = 0; i < 50; i++) {
    await kv.set('one', 'x'.repeat(60), 60)
    await kv.delete('one')
  }
  await kv.set('one', 'x'.repeat(60), 60)
  expect(await kv.get('one')).not.toBeNull()
})

test('a value longer than all there is room for is not kept, and costs no more than itself', async () => {
  const kv = createMemoryKv(still, { maxLength: 100 })
  await kv.set('long', 'x'.repeat(1000), 60)
  expect(await kv.get('long')).toBeNull()
  await kv.set('short', 'x', 60)
  expect(await kv.get('short')).toBe('x')
})
