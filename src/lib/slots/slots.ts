import { LruCache } from '../lru-cache.ts'
import { parseCron, type Cron } from './cron.ts'
import type { DstPolicy, SlotSpec } from './spec.ts'
import { segmentAt } from './zone.ts'

/** Many schedules share an expression (`0 9 * * *`) and ask for the same next time. */
const nextTimes = new LruCache<number | null>(20_000)

/** The next slots strictly after an instant, ascending; fewer than `count` where the schedule ends. Throws on a spec that cannot be computed. */
export function nextSlots(spec: SlotSpec, after: Date, count: number): Date[] {
  const found: Date[] = []
  let last = after
  while (found.length < count) {
    const next = nextSlot(spec, last)
    if (!next) break
    found.push(next)
    last = next
  }
  return found
}

export function nextSlot(spec: SlotSpec, after: Date): Date | null {
  const from = spec.start ? Math.max(after.getTime(), spec.start.getTime() - 1) : after.getTime()
  const at = isInterval(spec) ? nextOfInterval(spec, from) : nextOfCronCached(cronOf(spec), spec.dst, from)
  if (at === null || (spec.end && at >= spec.end.getTime())) return null
  return new Date(at)
}

export const isInterval = (spec: SlotSpec): boolean => spec.interval !== null && spec.interval !== undefined

export function intervalOf(spec: SlotSpec): { every: number; anchor: number } {
  const every = (spec.interval ?? 0) * 1000
  const anchor = spec.anchor?.getTime() ?? Number.NaN
  if (!Number.isFinite(every) || every < 1000) throw new Error('The interval is shorter than a second.')
  if (!Number.isFinite(anchor)) throw new Error('The interval has no anchor.')
  return { every, anchor }
}

export function cronOf(spec: SlotSpec): Cron {
  const { cron, fault } = parseCron(spec.cron ?? '', spec.zone)
  if (fault) throw new Error(`${fault.field === 'cron' ? 'The expression' : 'The time zone'} ${fault.detail}.`)
  return cron
}

function nextOfInterval(spec: SlotSpec, after: number): number {
  const { every, anchor } = intervalOf(spec)
  return after < anchor ? anchor : anchor + (Math.floor((after - anchor) / every) + 1) * every
}

function nextOfCronCached(cron: Cron, dst: DstPolicy, after: number): number | null {
  const key = `${cron.text}|${cron.zone}|${dst.gap}|${dst.fold}|${after}`
  return nextTimes.getOrMake(key, () => nextOfCron(cron, dst, after))
}

const nearMs = 3 * 86_400_000
const farMs = 2 * nearMs

/**
 * The first slot of an expression after an instant. Time is walked from one change of the zone's offset to the next;
 * between two changes, wall clock and instant differ by a constant.
 *
 * Expressions of every hour run by elapsed time: what a gap removes is left out, what a fold repeats runs again.
 */
export function nextOfCron(cron: Cron, dst: DstPolicy, after: number): number | null {
  const shifts = !cron.elapsed && dst.gap === 'shift'
  const repeats = cron.elapsed || dst.fold === 'both'
  let segment = segmentAt(cron.zone, after)
  let from = after
  for (;;) {
    let wall = from + segment.offset
    if (!repeats && segment.offsetBefore > segment.offset) {
      // The first pass ran up to this wall-clock time; only what is at or after it is new.
      const alreadyPassed = segment.start + segment.offsetBefore
      wall = Math.max(wall, alreadyPassed - 1)
    }
    const nextWall = cron.nextWall(wall)
    if (nextWall === null) return null
    const at = nextWall - segment.offset
    if (at < segment.end) return at
    // Nothing matches for long: the changes of the clocks until then do not matter, and a year of a zone takes a while to
    // learn. Those that are near may repeat what has matched before.
    if (nextWall - wall > farMs && segment.end - from > nearMs) {
      from = nextWall - nearMs
      segment = segmentAt(cron.zone, from)
      continue
    }
    const following = segmentAt(cron.zone, segment.end)
    const gapEnd = segment.end + following.offset
    // The match lies on wall-clock times that the gap leaves out: all of them share its end.
    if (shifts && nextWall < gapEnd) return segment.end
    from = segment.end - 1
    segment = following
  }
}
