import { expect, test } from 'vitest'
import { windowAt } from '../../../src/services/budgets/window.ts'

const hours = (period: 'day' | 'week' | 'month', zone: string, at: string): [string, number] => {
  const { start, end } = windowAt(period, zone, new Date(at))
  expect(start.getTime()).toBeLessThanOrEqual(Date.parse(at))
  expect(end!.getTime()).toBeGreaterThan(Date.parse(at))
  return [start.toISOString(), (end!.getTime() - start.getTime()) / 3_600_000]
}

test.each([
  ['a plain day', 'Europe/Berlin', '2026-11-22T12:00:00Z', '2026-11-21T23:00:00.000Z', 24],
  ['the day that loses an hour', 'Europe/Berlin', '2026-03-29T12:00:00Z', '2026-03-28T23:00:00.000Z', 23],
  ['the day that gains an hour', 'Europe/Berlin', '2026-10-25T12:00:00Z', '2026-10-24T22:00:00.000Z', 25],
  [
    'a day without midnight begins behind the gap',
    'Africa/Cairo',
    '2026-04-24T12:00:00Z',
    '2026-04-23T22:00:00.000Z',
    23,
  ],
  [
    'a day with two midnights begins with the first',
    'America/Havana',
    '2026-11-01T12:00:00Z',
    '2026-11-01T04:00:00.000Z',
    25,
  ],
  ['half past', 'Asia/Kolkata', '2026-11-22T18:30:00Z', '2026-11-22T18:30:00.000Z', 24],
])('%s', (_name, zone, at, start, length) => {
  expect(hours('day', zone, at)).toEqual([start, length])
})

test('weeks begin on Mondays and months on their first, by the calendar of the zone', () => {
  expect(hours('week', 'UTC', '2026-11-22T23:59:59Z')).toEqual(['2026-11-16T00:00:00.000Z', 168])
  expect(hours('week', 'UTC', '2026-11-23T00:00:00Z')).toEqual(['2026-11-23T00:00:00.000Z', 168])
  expect(hours('week', 'Europe/Berlin', '2026-03-28T12:00:00Z')).toEqual(['2026-03-22T23:00:00.000Z', 167])
  expect(hours('month', 'Pacific/Auckland', '2026-10-31T12:00:00Z')).toEqual(['2026-10-31T11:00:00.000Z', 720])
  expect(hours('month', 'UTC', '2028-02-29T23:00:00Z')).toEqual(['2028-02-01T00:00:00.000Z', 696])
})

test('what is total begins where it was asked and never turns', () => {
  const now = new Date('2026-11-22T12:00:00Z')
  expect(windowAt('total', 'UTC', now)).toEqual({ start: now, end: null })
})
