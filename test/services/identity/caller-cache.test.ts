import { expect, test } from 'vitest'
import { anyCaller } from '../../../src/lib/any-run.ts'
import { createCallerCache } from '../../../src/services/identity/caller-cache.ts'
import type { Caller } from '../../../src/services/identity/caller.ts'

const keyOf = (id: string): Caller => ({
  kind: 'server',
  id,
  actor: { kind: 'key', id, workspaceId: 'w', permissions: new Set() },
  workspaceSlug: 'w',
  budget: `key:${id}`,
  rateLimit: null,
  allowedDomains: [],
  allowsAddress: null,
})

test('what was read before a revocation is not stored after it', () => {
  const cache = createCallerCache()
  const readAt = cache.generation()
  cache.forget('k')
  cache.put('token', keyOf('k'), 10_000, readAt)
  expect(cache.get('token', 0)).toBeUndefined()
  cache.put('token', keyOf('k'), 10_000, cache.generation())
  expect(cache.get('token', 9_999)?.id).toBe('k')
  expect(cache.get('token', 10_000)).toBeUndefined()
})

test('however many keys come, the cache stays bounded and gives up the oldest', () => {
  const cache = createCallerCache()
  for (let i = 0; i < 6_000; i++) cache.put(`token-${i}`, keyOf(`k-${i}`), 10_000, 0)
  const kept = Array.from({ length: 6_000 }, (_, i) => cache.get(`token-${i}`, 0)).filter((key) => key !== undefined)
  expect(kept).toHaveLength(5_000)
  expect([cache.get('token-999', 0), cache.get('token-1000', 0)?.id]).toEqual([undefined, 'k-1000'])
})

test('a key, a user and a whole workspace are forgotten by their ids, and everybody at once', () => {
  const personal = { ...keyOf('k2'), actor: { ...keyOf('k2').actor, kind: 'user' as const, id: 'u', workspaceId: 'x' } }
  const all = { one: keyOf('k1'), two: personal, three: { ...keyOf('k3'), id: 'k3' } }
  const left = (id: string) => {
    const cache = createCallerCache()
    for (const [token, caller] of Object.entries(all)) cache.put(token, caller, 10_000, cache.generation())
    cache.forget(id)
    return Object.keys(all).filter((token) => cache.get(token, 0) !== undefined)
  }
  expect(left('k1')).toEqual(['two', 'three'])
  expect(left('u')).toEqual(['one', 'three'])
  expect(left('w')).toEqual(['two'])
  expect(left(anyCaller)).toEqual([])
})
