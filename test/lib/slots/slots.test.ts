import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { describeSlot } from '../../../src/lib/slots/describe.ts'
import { parseCron } from '../../../src/lib/slots/cron.ts'
import { nextSlots } from '../../../src/lib/slots/slots.ts'
import type { SlotSpec } from '../../../src/lib/slots/spec.ts'
import { localText } from '../../../src/lib/slots/zone.ts'

const zones = ['America/New_York', 'Europe/Berlin', 'Australia/Lord_Howe', 'Asia/Kolkata', 'UTC']
const policy = { gap: 'shift', fold: 'first' } as const

/** Slots of the expression from one local day on, as local texts with the mark of the clock change. */
function told(spec: Omit<SlotSpec, 'dst'> & { dst?: SlotSpec['dst'] }, after: string, count: number) {
  const full: SlotSpec = { dst: policy, ...spec }
  return nextSlots(full, new Date(after), count).map((slot) => {
    const { local, dst } = describeSlot(full, slot)
    return dst === null ? local : `${local} ${dst}`
  })
}

describe('a fixed time in a gap', () => {
  const spec = { cron: '30 2 * * *', zone: 'America/New_York' }
  test('shift: fires at the first instant after the gap', () => {
    expect(told(spec, '2026-03-07T12:00:00Z', 2)).toEqual([
      '2026-03-08T03:00:00-04:00 shifted',
      '2026-03-09T02:30:00-04:00',
    ])
  })
  test('skip: has no slot that day', () => {
    expect(told({ ...spec, dst: { gap: 'skip', fold: 'first' } }, '2026-03-07T12:00:00Z', 1)).toEqual([
      '2026-03-09T02:30:00-04:00',
    ])
  })
  test('several times in one gap share its end, also with a slot that is there by right', () => {
    expect(told({ ...spec, cron: '0,20,40 2,3 * * *' }, '2026-03-08T05:00:00Z', 3)).toEqual([
      '2026-03-08T03:00:00-04:00',
      '2026-03-08T03:20:00-04:00',
      '2026-03-08T03:40:00-04:00',
    ])
  })
  test('half an hour is a gap too', () => {
    expect(told({ cron: '15 2 * * *', zone: 'Australia/Lord_Howe' }, '2026-10-03T12:00:00Z', 2)).toEqual([
      '2026-10-04T02:30:00+11:00 shifted',
      '2026-10-05T02:15:00+11:00',
    ])
  })
  test('a whole day is one: Samoa had no 30 December 2011', () => {
    expect(told({ cron: '0 12 * * *', zone: 'Pacific/Apia' }, '2011-12-29T12:00:00Z', 3)).toEqual([
      '2011-12-29T12:00:00-10:00',
      '2011-12-31T00:00:00+14:00 shifted',
      '2011-12-31T12:00:00+14:00',
    ])
  })
})

describe('a fixed time in a fold', () => {
  const spec = { cron: '30 1 * * *', zone: 'America/New_York' }
  test('first: fires once', () => {
    expect(told(spec, '2026-11-01T00:00:00Z', 2)).toEqual([
      '2026-11-01T01:30:00-04:00 first_of_two',
      '2026-11-02T01:30:00-05:00',
    ])
  })
  test('both: fires twice', () => {
    expect(told({ ...spec, dst: { gap: 'shift', fold: 'both' } }, '2026-11-01T00:00:00Z', 3)).toEqual([
      '2026-11-01T01:30:00-04:00 first_of_two',
      '2026-11-01T01:30:00-05:00 second_of_two',
      '2026-11-02T01:30:00-05:00',
    ])
  })
  test('half an hour is a fold too', () => {
    const lordHowe = {
      cron: '15,45 1 * * *',
      zone: 'Australia/Lord_Howe',
      dst: { gap: 'shift', fold: 'both' },
    } as const
    expect(told(lordHowe, '2026-04-04T13:00:00Z', 3)).toEqual([
      '2026-04-05T01:15:00+11:00',
      '2026-04-05T01:45:00+11:00 first_of_two',
      '2026-04-05T01:45:00+10:30 second_of_two',
    ])
  })
})

describe('an expression of every hour runs by elapsed time', () => {
  test.each(['*/30 * * * *', '0,30 * * * *', '0,30 0-23 * * *', '0 0,30 * * * *'])('%s', (cron) => {
    for (const day of ['2026-03-08T05:00:00Z', '2026-11-01T04:00:00Z']) {
      const slots = nextSlots({ cron, zone: 'America/New_York', dst: policy }, new Date(day), 10)
      const steps = slots.map((slot, i) => slot.getTime() - (slots[i - 1]?.getTime() ?? Date.parse(day)))
      expect(new Set(steps)).toEqual(new Set([30 * 60_000]))
    }
  })
})

test.each([
  ['60 * * * *', 'cron'],
  ['* * * *', 'cron'],
  ['* * * * * * *', 'cron'],
  ['2026-01-01T00:00:00', 'cron'],
  ['@reboot', 'cron'],
  ['0 0 30 2 *', 'cron'],
  ['', 'cron'],
])('%s is no expression', (text, field) => {
  expect(parseCron(text, 'UTC').fault?.field).toBe(field)
})

test('an unknown zone is a fault, and so is a bare offset', () => {
  for (const zone of ['Mars/Olympus', '+02:00', '', 'Europe/Berlin; drop'])
    expect(parseCron('0 7 * * *', zone).fault?.field).toBe('timezone')
})

test('nicknames, names of days and months, last day and nth weekday are understood', () => {
  const next = (cron: string) => told({ cron, zone: 'UTC' }, '2026-01-01T00:00:00Z', 1)[0]
  expect(next('@daily')).toBe('2026-01-02T00:00:00+00:00')
  expect(next('0 9 * FEB MON')).toBe('2026-02-02T09:00:00+00:00')
  expect(next('0 9 L * *')).toBe('2026-01-31T09:00:00+00:00')
  expect(next('0 9 * * FRI#2')).toBe('2026-01-09T09:00:00+00:00')
  expect(next('0 9 29 2 *')).toBe('2028-02-29T09:00:00+00:00')
})

test('an interval counts from its anchor, through every change of the clocks', () => {
  const spec: SlotSpec = {
    interval: 5400,
    anchor: new Date('2026-03-08T00:00:10Z'),
    zone: 'America/New_York',
    dst: policy,
    end: new Date('2026-03-08T04:30:10Z'),
  }
  expect(nextSlots(spec, new Date('2020-01-01T00:00:00Z'), 9).map((slot) => slot.toISOString().slice(11, 19))).toEqual([
    '00:00:10',
    '01:30:10',
    '03:00:10',
  ])
})

const field = (min: number, max: number) =>
  fc.oneof(
    fc.constant('*'),
    fc.integer({ min, max }).map(String),
    fc.uniqueArray(fc.integer({ min, max }), { minLength: 1, maxLength: 4 }).map((values) => values.join(',')),
    fc.integer({ min: 2, max: Math.min(30, max) }).map((step) => `*/${step}`),
  )
const anExpression = fc
  .tuple(
    field(0, 59),
    field(0, 59),
    field(0, 23),
    fc.constantFrom('*', '*', '1', '8', '15,29'),
    fc.constantFrom('*', '3,4', '10,11'),
  )
  .map(([second, minute, hour, day, month]) => `${second} ${minute} ${hour} ${day} ${month} *`)
const aSpec = fc.record({
  cron: anExpression,
  zone: fc.constantFrom(...zones),
  dst: fc.record({
    gap: fc.constantFrom('shift' as const, 'skip' as const),
    fold: fc.constantFrom('first' as const, 'both' as const),
  }),
})
/** Often near a change of the clocks of one of the zones. */
const anInstant = fc.oneof(
  fc.integer({ min: Date.UTC(2024, 0, 1), max: Date.UTC(2030, 0, 1) }),
  fc
    .tuple(
      fc.constantFrom(
        '2026-03-08T07:00Z',
        '2026-11-01T06:00Z',
        '2026-03-29T01:00Z',
        '2026-10-25T01:00Z',
        '2026-04-04T15:00Z',
        '2026-10-03T15:30Z',
      ),
      fc.integer({ min: -4 * 3_600_000, max: 4 * 3_600_000 }),
    )
    .map(([change, distance]) => Date.parse(change) + distance),
)

test('slots ascend, come after the instant asked for, and match the fields in local time', () => {
  fc.assert(
    fc.property(aSpec, anInstant, (spec, after) => {
      const slots = nextSlots(spec, new Date(after), 12)
      expect(slots).toHaveLength(12)
      let last = after
      for (const slot of slots) {
        expect(slot.getTime()).toBeGreaterThan(last)
        last = slot.getTime()
        if (describeSlot(spec, slot).dst === 'shifted') expect(spec.dst.gap).toBe('shift')
        else expect(matches(spec.cron, localText(spec.zone, last))).toBe(true)
      }
    }),
    { numRuns: 300 },
  )
})

test('nothing is left out: each matching second of the zone is a slot, but for the policy of the fold', () => {
  fc.assert(
    fc.property(
      fc.record({
        cron: anExpression,
        zone: fc.constantFrom(...zones),
        dst: fc.constant({ gap: 'skip' as const, fold: 'both' as const }),
      }),
      anInstant,
      (spec, after) => {
        const from = Math.floor(after / 1000) * 1000
        const until = from + 1800_000
        const expected: number[] = []
        for (let at = from + 1000; at <= until; at += 1000)
          if (matches(spec.cron, localText(spec.zone, at))) expected.push(at)
        const slots = nextSlots({ ...spec, end: new Date(until + 1) }, new Date(from), 2000)
        expect(slots.map((slot) => slot.getTime())).toEqual(expected)
      },
    ),
    { numRuns: 25 },
  )
})

test('asking in two parts answers the same as asking once', () => {
  fc.assert(
    fc.property(aSpec, anInstant, fc.integer({ min: 0, max: 200 }), (spec, after, percent) => {
      const whole = nextSlots(spec, new Date(after), 10)
      const end = whole.at(-1)!.getTime()
      const middle = Math.floor(after + ((end - after) * Math.min(percent, 100)) / 100)
      const until = (from: number, to: number) => nextSlots({ ...spec, end: new Date(to + 1) }, new Date(from), 50)
      expect([...until(after, middle), ...until(middle, end)]).toEqual(whole)
    }),
    { numRuns: 300 },
  )
})

test('with fold first no local time comes twice, unless the expression is one of every hour', () => {
  fc.assert(
    fc.property(aSpec, anInstant, (spec, after) => {
      const { cron } = parseCron(spec.cron, spec.zone)
      const firstOnly = { ...spec, dst: { ...spec.dst, fold: 'first' as const } }
      const locals = nextSlots(firstOnly, new Date(after), 40).map((slot) =>
        localText(spec.zone, slot.getTime()).slice(0, 19),
      )
      if (!cron!.elapsed) expect(new Set(locals).size).toBe(locals.length)
    }),
    { numRuns: 200 },
  )
})

test('a date that comes once in decades is found without learning each year of the zone', () => {
  const asked = vi.spyOn(Intl.DateTimeFormat.prototype, 'formatToParts')
  const spec = { cron: '30 2 29 2 +1', zone: 'America/Asuncion' }
  expect(told(spec, '2026-03-07T12:00:00Z', 4).map((local) => local.slice(0, 16))).toEqual([
    '2044-02-29T02:30',
    '2072-02-29T02:30',
    '2112-02-29T02:30',
    '2140-02-29T02:30',
  ])
  // Some years of days round each of them; all the years between are forty thousand.
  expect(asked.mock.calls.length).toBeLessThan(12_000)
  asked.mockRestore()
})

/** An independent reading of the fields that the generators above make. */
function matches(cron: string, local: string): boolean {
  const [, month, day, hour, minute, second] = /^\d+-(\d+)-(\d+)T(\d+):(\d+):(\d+)/.exec(local)!.map(Number)
  const values = [second, minute, hour, day, month]
  return cron
    .split(' ')
    .slice(0, 5)
    .every((text, i) => {
      const value = values[i]!
      if (text === '*') return true
      if (text.startsWith('*/')) return value % Number(text.slice(2)) === 0
      return text.split(',').map(Number).includes(value)
    })
}
