import { expect, test } from 'vitest'
import { LruCache } from '../../src/lib/lru-cache.ts'

test('a value is made once while it is remembered, and what was used longest ago is forgotten', () => {
  const cache = new LruCache<string>(2)
  const made: string[] = []
  for (const key of ['a', 'b', 'a', 'c', 'a', 'b']) cache.getOrMake(key, () => (made.push(key), key))
  expect(made).toEqual(['a', 'b', 'c', 'b'])
  expect(cache.size).toBe(2)
})
