import fc from 'fast-check'
import { expect, test } from 'vitest'
import { canonicalJson, sha256Hex } from '../../src/lib/canonical.ts'

test('keys are sorted by code unit at every level and white space is gone', () => {
  expect(canonicalJson({ b: [1, { z: null, a: 'ü' }], a: true })).toBe('{"a":true,"b":[1,{"a":"ü","z":null}]}')
  expect(canonicalJson({ '€': 1, '\r': 2, 1: 3, '\u{1f600}': 4, ö: 5 })).toBe(
    '{"\\r":2,"1":3,"ö":5,"€":1,"\u{1f600}":4}',
  )
})

test('numbers are written as RFC 8785 wants them', () => {
  expect(canonicalJson([1.0, 1e21, 1e-7, -0, 0.1, 333333333.33333329])).toBe('[1,1e+21,1e-7,0,0.1,333333333.3333333]')
})

test('what JSON cannot say is treated as JSON.stringify does', () => {
  const value = { gone: undefined, list: [undefined], date: new Date(0), not: Number.NaN }
  expect(canonicalJson(value)).toBe('{"date":"1970-01-01T00:00:00.000Z","list":[null],"not":null}')
})

test('an own __proto__ key is data like any other', () => {
  expect(canonicalJson(JSON.parse('{"__proto__":{"x":1},"a":2}'))).toBe('{"__proto__":{"x":1},"a":2}')
})

test('the text does not depend on the order of keys and reads back as the same value', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 4 })), (value) => {
      const plain = JSON.parse(JSON.stringify(value)) as Record<string, unknown>
      const reversed = Object.fromEntries(Object.entries(plain).toReversed())
      expect(canonicalJson(reversed)).toBe(canonicalJson(plain))
      expect(JSON.parse(canonicalJson(plain))).toEqual(plain)
    }),
  )
})

test('SHA-256 agrees with the published vectors, for text and for bytes', () => {
  const empty = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
  const abc = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
  expect(sha256Hex('')).toBe(empty)
  expect(sha256Hex('abc')).toBe(abc)
  expect(sha256Hex(new Uint8Array([97, 98, 99]))).toBe(abc)
})
