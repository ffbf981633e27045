import fc from 'fast-check'
import { expect, test } from 'vitest'
import { nextSlots } from '../../../src/lib/slots/slots.ts'
import { stretchOf } from '../../../src/lib/slots/stretch.ts'
import type { DstPolicy } from '../../../src/lib/slots/spec.ts'
import { oracleChanges, oracleSlots, wallMinute, type OracleExpression } from '../../support/cron-oracle.ts'

/**
 * SLOTS_SWEEP=1 goes through every clock change of every zone in these years under each policy: minutes instead of seconds.
 * What is generated is the same in each run; SLOTS_SEED makes it another.
 */
const sweep = process.env['SLOTS_SWEEP'] !== undefined
const minuteMs = 60_000
const dayMs = 86_400_000
const seed = Number(process.env['SLOTS_SEED'] ?? 2026)
const years = Array.from({ length: 21 }, (_, index) => 2016 + index)
const zones = Intl.supportedValuesOf('timeZone')

const all = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index)

/** A field as its text and what it means. */
type Field = { text: string; values: number[]; isWild: boolean }
function aField(from: number, to: number, names: string[] = []): fc.Arbitrary<Field> {
  const value = fc.integer({ min: from, max: to })
  const name = (n: number) => names[n - from] ?? String(n)
  return fc.oneof(
    { weight: 3, arbitrary: fc.constant({ text: '*', values: all(from, to), isWild: true }) },
    {
      weight: 3,
      arbitrary: fc.uniqueArray(value, { minLength: 1, maxLength: 4 }).map((list) => ({
        text: list.map(name).join(','),
        values: list,
        isWild: false,
      })),
    },
    {
      weight: 2,
      arbitrary: fc.tuple(value, value, fc.integer({ min: 1, max: 7 })).map(([a, b, step]) => {
        const [low, high] = [Math.min(a, b), Math.max(a, b)]
        return {
          text: `${low}-${high}/${step}`,
          values: all(low, high).filter((n) => (n - low) % step === 0),
          isWild: false,
        }
      }),
    },
    {
      weight: 1,
      arbitrary: fc.integer({ min: 2, max: Math.min(20, to) }).map((step) => ({
        text: `*/${step}`,
        values: all(from, to).filter((n) => (n - from) % step === 0),
        isWild: true,
      })),
    },
  )
}
const monthNames = ['JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC']
const dayNames = ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT']
const anyField: Field = { text: '*', values: [], isWild: true }

const anExpression = fc
  .tuple(
    aField(0, 59),
    aField(0, 23),
    fc.oneof({ weight: 3, arbitrary: fc.constant(anyField) }, { weight: 1, arbitrary: aField(1, 31) }),
    fc.oneof({ weight: 6, arbitrary: fc.constant({ ...anyField, values: all(1, 12) }) }, aField(1, 12, monthNames)),
    fc.oneof({ weight: 3, arbitrary: fc.constant(anyField) }, { weight: 1, arbitrary: aField(0, 6, dayNames) }),
  )
  .map(([minute, hour, day, month, weekday]): OracleExpression => {
    const isAny = (field: Field) => field.text === '*'
    return {
      text: [minute, hour, day, month, weekday].map((field) => field.text).join(' '),
      minutes: new Set(minute.values),
      hours: new Set(hour.values),
      daysOfMonth: isAny(day) ? null : new Set(day.values),
      months: new Set(month.values),
      weekdays: isAny(weekday) ? null : new Set(weekday.values),
      everyHour: hour.text.startsWith('*') || hour.values.length === 24,
    }
  })
const aPolicy: fc.Arbitrary<DstPolicy> = fc.record({
  gap: fc.constantFrom('shift' as const, 'skip' as const),
  fold: fc.constantFrom('first' as const, 'both' as const),
})

function agree(expression: OracleExpression, zone: string, dst: DstPolicy, from: number, to: number) {
  const told = oracleSlots(expression, zone, dst, from, to)
  const spec = { cron: expression.text, zone, dst, end: new Date(to + 1) }
  const what = `${expression.text} in ${zone}, gap ${dst.gap}, fold ${dst.fold}`
  const slots = nextSlots(spec, new Date(from), told.length + 1)
  expect(
    slots.map((slot) => slot.toISOString()),
    what,
  ).toEqual(told.map((slot) => new Date(slot).toISOString()))
  const stretch = stretchOf(spec, new Date(from), new Date(to))
  expect([stretch?.count ?? 0, stretch?.to.getTime() ?? null], what).toEqual([told.length, told.at(-1) ?? null])
}

/** An expression that never matches (30 February) is refused elsewhere. */
const canMatch = ({ daysOfMonth, weekdays, months }: OracleExpression) =>
  daysOfMonth === null ||
  weekdays !== null ||
  [...months].some((month) => [...daysOfMonth].some((day) => day <= new Date(Date.UTC(2028, month, 0)).getUTCDate()))

/** A change of the clocks in this year: of this zone or, where it has none, of one of the next in the list. */
function aChange(zoneIndex: number, year: number, pick: number): { zone: string; change: number } | null {
  for (let tried = 0; tried < 20; tried++) {
    const zone = zones[(zoneIndex + tried) % zones.length]!
    const changes = oracleChanges(zone, Date.UTC(year, 0, 1), Date.UTC(year + 1, 0, 1))
    const change = changes[pick % Math.max(1, changes.length)]
    if (change !== undefined) return { zone, change }
  }
  return null
}

/** The same minutes, in the hours that the wall shows around a change: where a gap or a fold is, if there is one. */
function aimedAt(expression: OracleExpression, zone: string, change: number): OracleExpression {
  const before = Math.floor(wallMinute(zone, change - minuteMs) / 60) % 24
  const hours = [...new Set([before, (before + 1) % 24, Math.floor(wallMinute(zone, change) / 60) % 24])]
  const text = `${expression.text.split(' ')[0]} ${hours.join(',')} * * *`
  const whole = { daysOfMonth: null, weekdays: null, months: new Set(all(1, 12)), everyHour: false }
  return { ...expression, ...whole, text, hours: new Set(hours) }
}

test.runIf(!sweep)(
  'slots are those that a walk through every minute of the wall clock finds, in any zone, most of all where clocks change',
  () => {
    fc.assert(
      fc.property(
        anExpression.filter(canMatch),
        aPolicy,
        fc.nat(zones.length - 1),
        fc.constantFrom(...years),
        fc.nat(365 * 24 * 60),
        fc.constantFrom('anywhere', 'change', 'aimed', 'aimed'),
        (expression, dst, zoneIndex, year, minute, where) => {
          const near = where === 'anywhere' ? null : aChange(zoneIndex, year, minute)
          if (!near) {
            const from = Date.UTC(year, 0, 1) + minute * minuteMs
            return agree(expression, zones[zoneIndex]!, dst, from, from + dayMs)
          }
          const { zone, change } = near
          const judged = where === 'aimed' ? aimedAt(expression, zone, change) : expression
          agree(judged, zone, dst, change - 10 * 60 * minuteMs, change + 14 * 60 * minuteMs)
        },
      ),
      { numRuns: 80, seed },
    )
  },
)

const policies: DstPolicy[] = (['shift', 'skip'] as const).flatMap((gap) =>
  (['first', 'both'] as const).map((fold) => ({ gap, fold })),
)
const generated = fc.sample(anExpression.filter(canMatch), { numRuns: 2_000, seed })
const span: [number, number] = [Date.UTC(years[0]!, 0, 1), Date.UTC(years.at(-1)! + 1, 0, 1)]

/** A day around an instant: one expression as it is, and one for the very hours that the wall shows there. */
function agreeAround(zone: string, instant: number, expression: OracleExpression, judged: readonly DstPolicy[]): void {
  const from = instant - 10 * 60 * minuteMs
  for (const dst of judged) agree(aimedAt(expression, zone, instant), zone, dst, from, from + dayMs)
  agree(expression, zone, judged[0]!, from, from + dayMs)
}

test.runIf(!sweep)(
  'the same around two neighbouring clock changes of every zone, and anywhere in those that have none',
  () => {
    for (const [index, zone] of zones.entries()) {
      const changes = oracleChanges(zone, ...span)
      const quiet = span[0] + ((index * 7_919) % (years.length * 365)) * dayMs
      const first = index % Math.max(1, changes.length - 1)
      // A gap and the fold behind it, or the other way round: another year in each zone.
      const around = changes.length === 0 ? [quiet] : changes.slice(first, first + 2)
      for (const [n, instant] of around.entries())
        agreeAround(zone, instant, generated[(2 * index + n) % generated.length]!, [policies[(index + n) % 4]!])
    }
  },
  60_000,
)

test.runIf(sweep)(
  'the same for every clock change of every zone from 2016 to 2036, under every policy',
  () => {
    let judged = 0
    for (const zone of zones) {
      for (const instant of oracleChanges(zone, ...span)) {
        agreeAround(zone, instant, generated[judged % generated.length]!, policies)
        judged++
      }
    }
    expect(judged).toBeGreaterThan(5000)
  },
  3_600_000,
)
