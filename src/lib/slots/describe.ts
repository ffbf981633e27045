import { cronOf, isInterval } from './slots.ts'
import type { SlotSpec } from './spec.ts'
import { localText, segmentAt } from './zone.ts'

export interface SlotDescription {
  at: Date
  local: string
  /** True on a local day whose clocks change. */
  dstDay: boolean
  dst: 'shifted' | 'first_of_two' | 'second_of_two' | null
}

const dayMs = 86_400_000

/** A slot with its local time and what a change of the clocks does to it. */
export function describeSlot(spec: SlotSpec, slot: Date): SlotDescription {
  const at = slot.getTime()
  const segment = segmentAt(spec.zone, at)
  const following = segmentAt(spec.zone, segment.end)
  const wall = at + segment.offset
  const localDay = Math.floor(wall / dayMs)
  const dayOf = (instant: number, offset: number) => Math.floor((instant + offset) / dayMs)
  const changedToday = segment.offsetBefore !== segment.offset && dayOf(segment.start, segment.offset) === localDay
  // The last instant before the change: a change at midnight belongs to the day that it ends as well.
  const changesToday = following.offset !== segment.offset && dayOf(segment.end - 1, segment.offset) === localDay
  return {
    at: slot,
    local: localText(spec.zone, at),
    dstDay: changedToday || changesToday,
    dst: dstNote(),
  }

  function dstNote(): SlotDescription['dst'] {
    if (at < segment.start + (segment.offsetBefore - segment.offset)) return 'second_of_two'
    if (at >= segment.end - (segment.offset - following.offset)) return 'first_of_two'
    const gapEnded = at === segment.start && segment.offsetBefore < segment.offset
    if (gapEnded && !isInterval(spec) && cronOf(spec).nextWall(wall - 1000) !== wall) return 'shifted'
    return null
  }
}
