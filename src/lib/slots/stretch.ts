import type { Cron } from './cron.ts'
import { cronOf, intervalOf, isInterval, nextOfCron, nextSlot } from './slots.ts'
import type { SlotSpec } from './spec.ts'
import { segmentAt } from './zone.ts'

/** A run of consecutive slots, summed up. */
export interface Stretch {
  from: Date
  to: Date
  count: number
}

const minuteMs = 60_000
const hourMs = 3_600_000
const dayMs = 86_400_000

/**
 * The slots after one instant, up to and including another, counted without visiting each: a schedule of every second
 * that was paused for a year is a matter of milliseconds. Null: there are none.
 */
export function stretchOf(spec: SlotSpec, after: Date, until: Date): Stretch | null {
  const first = nextSlot(spec, after)
  const last = Math.min(until.getTime(), spec.end ? spec.end.getTime() - 1 : Infinity)
  if (!first || first.getTime() > last) return null
  return isInterval(spec) ? stretchOfInterval(spec, first, last) : stretchOfCron(spec, first, last)
}

function stretchOfInterval(spec: SlotSpec, from: Date, until: number): Stretch {
  const { every } = intervalOf(spec)
  const more = Math.floor((until - from.getTime()) / every)
  return { from, to: new Date(from.getTime() + more * every), count: more + 1 }
}

function stretchOfCron(spec: SlotSpec, from: Date, until: number): Stretch {
  const cron = cronOf(spec)
  let count = 1
  let to = from.getTime()
  for (;;) {
    const block = wholeBlockAfter(cron, to, until)
    if (block) {
      count += block.count
      to = block.last
      continue
    }
    const next = nextOfCron(cron, spec.dst, to)
    if (next === null || next > until) return { from, to: new Date(to), count }
    count += 1
    to = next
  }
}

/** The next slots after `at` as one block, where they fill a local day, hour or minute that no clock change touches. */
function wholeBlockAfter(cron: Cron, at: number, until: number): { count: number; last: number } | null {
  const segment = segmentAt(cron.zone, at + 1)
  const nextWall: number | null = cron.nextWall(at + segment.offset)
  if (nextWall === null) return null
  for (const block of blocks(cron)) {
    const wall: number = Math.floor(nextWall / block.length) * block.length
    if (nextWall !== wall + block.first) continue
    const start = wall - segment.offset
    const end = start + block.length
    // After a fold, the repeated stretch of wall-clock time is decided slot by slot.
    const clean = segment.start + Math.max(0, segment.offsetBefore - segment.offset)
    if (start >= clean && end <= segment.end && end - 1 <= until)
      return { count: block.count, last: start + block.last }
  }
  return null
}

/** What a whole day, hour and minute hold: how many slots, and where the first and the last are. */
function blocks({ hours, minutes, seconds }: Cron): { length: number; count: number; first: number; last: number }[] {
  const at = (values: number[], index: number, unit: number) => (values.at(index) ?? 0) * unit
  const second = (index: number) => at(seconds, index, 1000)
  const minute = (index: number) => at(minutes, index, minuteMs) + second(index)
  const hour = (index: number) => at(hours, index, hourMs) + minute(index)
  const perHour = minutes.length * seconds.length
  return [
    { length: dayMs, count: hours.length * perHour, first: hour(0), last: hour(-1) },
    { length: hourMs, count: perHour, first: minute(0), last: minute(-1) },
    { length: minuteMs, count: seconds.length, first: second(0), last: second(-1) },
  ]
}
