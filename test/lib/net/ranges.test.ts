import { expect, test } from 'vitest'
import { parseRange, rangesHold } from '../../../src/lib/net/ranges.ts'

test.each([
  ['203.0.113.7', '203.0.113.7/32'],
  [' 10.1.2.3/8 ', '10.0.0.0/8'],
  ['0.0.0.0/0', '0.0.0.0/0'],
  ['2001:DB8::1', '2001:db8::1/128'],
  ['2001:db8:1:2::/32', '2001:db8::/32'],
  ['::/0', '::/0'],
])('%s is %s', (text, range) => {
  expect(parseRange(text)).toBe(range)
})

test.each([
  '',
  '/',
  '10.0.0.0/',
  '10.0.0.0/33',
  '10.0.0.0/-1',
  '10.0.0.0/8/8',
  '10.0/8',
  '10',
  '0x0a.0.0.1',
  '012.0.0.1',
  '256.0.0.1',
  '::ffff:10.0.0.1',
  'fe80::1%eth0',
  '2001:db8::/129',
  'example.com',
  '*',
])('%j is no range', (text) => {
  expect(parseRange(text)).toBeNull()
})

test('an address lies in the ranges of its own kind, however it is written', () => {
  const holds = rangesHold(['10.0.0.0/8', '203.0.113.7/32', '2001:db8::/32'])
  expect(['10.255.0.1', '203.0.113.7', '2001:DB8:0::5', '::ffff:10.1.1.1'].map(holds)).toEqual([true, true, true, true])
  expect(['11.0.0.1', '203.0.113.8', '2001:db9::1', '::a00:1', 'unknown', ''].map(holds)).toEqual(
    Array.from({ length: 6 }, () => false),
  )
})
