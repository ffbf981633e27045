import { expect, test } from 'vitest'
import type { Json } from '../../src/lib/json.ts'
import { diffJson } from '../../src/lib/json-diff.ts'

/** A value, and how often its members have been listed. */
function watched(value: { [key: string]: Json }) {
  const seen = { times: 0 }
  const proxy = new Proxy(value, {
    ownKeys(target) {
      seen.times += 1
      return Reflect.ownKeys(target)
    },
  })
  return { proxy, seen }
}

test('what lies deep is compared once, not once a level', () => {
  const from = watched({ a: 1 })
  const to = watched({ a: 2 })
  const below = (value: Json) => Array.from({ length: 50 }).reduce<Json>((inner) => ({ in: inner }), value)
  expect(diffJson(below(from.proxy), below(to.proxy))).toEqual([
    { op: 'replace', pointer: `${'/in'.repeat(50)}/a`, from: 1, to: 2 },
  ])
  expect(from.seen.times + to.seen.times).toBeLessThan(6)
})

test('what is equal is no change, whatever the order of its members', () => {
  const value: Json = { a: [1, { b: null, c: [] }], d: {}, e: [{ id: 'x' }, { id: 'y', f: true }] }
  const same: Json = { e: [{ id: 'x' }, { f: true, id: 'y' }], d: {}, a: [1, { c: [], b: null }] }
  expect(diffJson(value, same)).toEqual([])
})

test('items with ids that have changed places have moved, thousands of them too', () => {
  const ids = Array.from({ length: 5_000 }, (_, index) => ({ id: `s${index}` }))
  const changes = diffJson(ids, ids.toReversed())
  expect(changes).toHaveLength(5_000)
  expect(changes[0]).toEqual({ op: 'move', pointer: '/0', from_pointer: '/4999' })
  expect(diffJson([...ids.slice(0, 2), { id: 'new' }], ids.slice(0, 3))).toEqual([
    { op: 'remove', pointer: '/2', from: { id: 'new' } },
    { op: 'add', pointer: '/2', to: { id: 's2' } },
  ])
})

test('a value of another kind takes the place of the one before', () => {
  expect(diffJson({ a: [] }, { a: {} })).toEqual([{ op: 'replace', pointer: '/a', from: [], to: {} }])
  expect(diffJson([1, 2], [1])).toEqual([{ op: 'replace', pointer: '', from: [1, 2], to: [1] }])
  expect(diffJson([1, 2], [1, 3])).toEqual([{ op: 'replace', pointer: '/1', from: 2, to: 3 }])
})
