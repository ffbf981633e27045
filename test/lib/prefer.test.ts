import { expect, test } from 'vitest'
import { waitAskedFor } from '../../src/lib/prefer.ts'

test.each([
  [undefined, null],
  ['', null],
  ['wait=30', 30],
  ['Wait=30', 30],
  ['wait = 30', 30],
  ['wait="30"', 30],
  ['wait=30; foo=bar', 30],
  ['respond-async, wait=30', 30],
  ['wait=30, respond-async', 30],
  ['return=representation, wait=5', 5],
  ['foo="a, wait=5", wait=7', 7],
  ['foo="a\\", wait=5", wait=7', 7],
  ['wait=60', 60],
  ['wait=61', 60],
  ['wait=999999999', 60],
  ['wait=1, wait=30', 1],
  ['wait=, wait=30', null],
  ['respond-async', null],
  ['wait', null],
  ['wait=0', null],
  ['wait=-5', null],
  ['wait=1.5', null],
  ['wait=5s', null],
  ['wait=9999999999', null],
  ['wait="30', null],
  ['waiting=30', null],
  ['foo=wait=30', null],
  ['",;=', null],
])('%j asks for a wait of %j', (header, seconds) => {
  expect(waitAskedFor(header)).toBe(seconds)
})
