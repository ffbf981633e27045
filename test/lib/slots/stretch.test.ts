import fc from 'fast-check'
import { expect, test } from 'vitest'
import { nextSlots } from '../../../src/lib/slots/slots.ts'
import type { SlotSpec } from '../../../src/lib/slots/spec.ts'
import { stretchOf } from '../../../src/lib/slots/stretch.ts'

const minutes = fc.constantFrom('*', '*/7', '0', '59', '5,35', '0,59')
const hours = fc.constantFrom('*', '*/2', '0', '1,2', '2', '23', '9-17')
/** More than any schedule here has in two days, the longest stretch below: every 7 seconds is 24,686. */
const most = 30_000

const aSpec: fc.Arbitrary<SlotSpec> = fc.oneof(
  fc
    .record({
      fields: fc.tuple(fc.constantFrom('0', '0', '30', '*/20'), minutes, hours, fc.constantFrom('*', '1,15', 'L')),
      zone: fc.constantFrom('America/New_York', 'Europe/Berlin', 'Australia/Lord_Howe', 'Asia/Kolkata', 'UTC'),
      gap: fc.constantFrom('shift' as const, 'skip' as const),
      fold: fc.constantFrom('first' as const, 'both' as const),
    })
    .map(({ fields, zone, gap, fold }) => ({ cron: `${fields.join(' ')} * *`, zone, dst: { gap, fold } })),
  fc.integer({ min: 7, max: 4000 }).map((interval) => ({
    interval,
    anchor: new Date('2026-03-08T00:00:10Z'),
    zone: 'UTC',
    dst: { gap: 'shift' as const, fold: 'first' as const },
  })),
)

test('a stretch counts what asking slot by slot would find, and knows its first and last', () => {
  fc.assert(
    fc.property(
      aSpec,
      fc.constantFrom(
        '2026-03-07T00:00:00Z',
        '2026-10-31T00:00:00Z',
        '2026-03-28T10:00:00Z',
        '2026-04-04T00:00:00Z',
        '2026-10-03T00:00:00Z',
      ),
      fc.integer({ min: 0, max: 86_400_000 }),
      fc.integer({ min: 0, max: 2 * 86_400_000 }),
      (spec, day, offset, length) => {
        const after = new Date(Date.parse(day) + offset)
        const until = new Date(after.getTime() + length)
        const slots = nextSlots({ ...spec, end: new Date(until.getTime() + 1) }, after, most)
        const expected = slots.length === 0 ? null : { from: slots[0], to: slots.at(-1), count: slots.length }
        expect(stretchOf(spec, after, until)).toEqual(expected)
      },
    ),
    { numRuns: 120 },
  )
})

test('the end of the schedule ends the stretch, its start begins it', () => {
  const spec: SlotSpec = {
    cron: '0 * * * *',
    zone: 'UTC',
    dst: { gap: 'shift', fold: 'first' },
    start: new Date('2026-01-01T05:00:00Z'),
    end: new Date('2026-01-03T00:00:00Z'),
  }
  expect(stretchOf(spec, new Date('2026-01-01T00:00:00Z'), new Date('2027-01-01T00:00:00Z'))).toEqual({
    from: new Date('2026-01-01T05:00:00Z'),
    to: new Date('2026-01-02T23:00:00Z'),
    count: 43,
  })
  expect(stretchOf(spec, new Date('2026-01-03T00:00:00Z'), new Date('2027-01-01T00:00:00Z'))).toBeNull()
})
