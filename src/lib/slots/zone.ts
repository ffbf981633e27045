import { LruCache } from '../lru-cache.ts'
import { zonedFields } from '../zoned-fields.ts'

/** A stretch of time in which a zone keeps one offset from UTC. Instants and offsets are milliseconds. */
export interface Segment {
  /** First instant of the stretch, as far as it is looked at: the neighbour may have the same offset. */
  start: number
  /** First instant after it. */
  end: number
  offset: number
  /** The offset before `start`: smaller means that a gap ended there, larger that a fold began. */
  offsetBefore: number
}

interface Transition {
  at: number
  before: number
  after: number
}

const dayMs = 86_400_000
const years = new LruCache<Transition[]>(4000)
/** The segment last asked for, by zone: the next question is nearly always about the same one. */
const recent = new Map<string, Segment>()

/** True for the name of a zone that this platform knows: `Europe/Berlin`, `UTC`. Bare offsets are no zones. */
export function isZone(zone: string): boolean {
  if (!/^[A-Za-z][A-Za-z0-9_+\-/]{0,63}$/.test(zone)) return false
  try {
    zonedFields(zone, 0)
    return true
  } catch {
    return false
  }
}

export function offsetAt(zone: string, instantMs: number): number {
  return zone === 'UTC' ? 0 : segmentAt(zone, instantMs).offset
}

/** The stretch of constant offset that holds this instant. */
export function segmentAt(zone: string, instantMs: number): Segment {
  const known = recent.get(zone)
  if (known && known.start <= instantMs && instantMs < known.end) return known
  const segment = findSegment(zone, instantMs)
  if (recent.size >= 700) recent.clear()
  recent.set(zone, segment)
  return segment
}

function findSegment(zone: string, instantMs: number): Segment {
  const year = new Date(instantMs).getUTCFullYear()
  const near = zone === 'UTC' ? [] : [year - 1, year, year + 1].flatMap((y) => transitionsOf(zone, y))
  const last = near.findLast((transition) => transition.at <= instantMs)
  const next = near.find((transition) => transition.at > instantMs)
  const offset = last?.after ?? next?.before ?? (zone === 'UTC' ? 0 : measure(zone, instantMs))
  return {
    start: last?.at ?? Date.UTC(year - 1, 0, 1),
    end: next?.at ?? Date.UTC(year + 2, 0, 1),
    offset,
    offsetBefore: last?.before ?? offset,
  }
}

/** `2026-03-29T03:00:00+02:00` */
export function localText(zone: string, instantMs: number): string {
  const offset = offsetAt(zone, instantMs)
  const wall = new Date(instantMs + offset).toISOString().replace(/(?:\.000)?Z$/, '')
  const minutes = Math.round(Math.abs(offset) / 60_000)
  const pad = (n: number) => String(n).padStart(2, '0')
  return `${wall}${offset < 0 ? '-' : '+'}${pad(Math.floor(minutes / 60))}:${pad(minutes % 60)}`
}

/** Changes of offset within one UTC year, found by looking at each day and then halving. */
function transitionsOf(zone: string, year: number): Transition[] {
  return years.getOrMake(`${zone}|${year}`, () => {
    const found: Transition[] = []
    const end = Date.UTC(year + 1, 0, 1)
    let at = Date.UTC(year, 0, 1)
    let offset = measure(zone, at)
    while (at < end) {
      const next = Math.min(at + dayMs, end)
      const nextOffset = measure(zone, next)
      if (nextOffset !== offset)
        found.push({ at: firstInstantWith(zone, nextOffset, at, next), before: offset, after: nextOffset })
      at = next
      offset = nextOffset
    }
    return found
  })
}

/** Changes happen on whole seconds. `low` still has another offset, `high` has this one. */
function firstInstantWith(zone: string, offset: number, low: number, high: number): number {
  let before = low
  let after = high
  while (after - before > 1000) {
    const middle = Math.floor((before + after) / 2000) * 1000
    if (measure(zone, middle) === offset) after = middle
    else before = middle
  }
  return after
}

function measure(zone: string, instantMs: number): number {
  const whole = Math.floor(instantMs / 1000) * 1000
  const { year, month, day, hour, minute, second } = zonedFields(zone, whole)
  return Date.UTC(year, month - 1, day, hour, minute, second) - whole
}
