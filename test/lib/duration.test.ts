import fc from 'fast-check'
import { expect, test } from 'vitest'
import { formatDuration, parseDuration } from '../../src/lib/duration.ts'

test.each([
  ['500ms', 500],
  ['20s', 20_000],
  ['5m', 300_000],
  ['8h', 28_800_000],
  ['1h30m', 5_400_000],
  ['2d', 172_800_000],
  ['1d2h3m4s5ms', 93_784_005],
  ['0s', 0],
  ['PT20S', 20_000],
  ['PT0.5S', 500],
  ['P1DT2H', 93_600_000],
  ['P2W', 1_209_600_000],
])('%s is %d milliseconds', (text, ms) => {
  expect(parseDuration(text)).toBe(ms)
})

test.each([
  '',
  ' ',
  '20',
  's',
  '1.5h',
  '-1h',
  '1h 30m',
  '30m1h',
  '1y',
  'P1M',
  'P1Y',
  'PT',
  'P',
  'P1DT',
  '1e3s',
  '99999999999999999d',
])("'%s' is no duration", (text) => {
  expect(parseDuration(text)).toBeNull()
})

test('every whole number of milliseconds reads back as it was written', () => {
  fc.assert(
    fc.property(fc.nat({ max: 10 ** 12 }), (ms) => {
      expect(parseDuration(formatDuration(ms))).toBe(ms)
    }),
  )
  expect(formatDuration(5_400_000)).toBe('1h30m')
  expect(formatDuration(-1500)).toBe('-1s500ms')
})
