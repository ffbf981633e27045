import type { SlotSpec } from '../../lib/slots/spec.ts'
import { nextSlot } from '../../lib/slots/slots.ts'
import type { StoredMisfire } from '../../db/tables/schedules.table.ts'
import { fireTime } from './timing.ts'
import type { OverlapPolicy, SlotStatus } from './types.ts'

export interface DueSchedule {
  id: string
  spec: SlotSpec
  graceMs: number
  jitterSeconds: number
  misfire: StoredMisfire
  overlap: OverlapPolicy
  /** The watermark: slots up to it are in the ledger. */
  accountedUntil: Date
  /** Slots that one pass may take. */
  maxSlots?: number
}

export interface Situation {
  /** By the database's clock. */
  now: Date
  /** A run of this schedule has not ended. */
  isRunOpen: boolean
  /** A slot that an overlap holds back. */
  pendingSlot: Date | null
}

/** A row for the ledger. A range stands for `count` slots, from slotAt up to and including slotTo. */
export interface LedgerEntry {
  slotAt: Date
  status: SlotStatus
  reason: string | null
  late: boolean
  slotTo: Date | null
  count: number
}

export interface Decision {
  entries: LedgerEntry[]
  cancelsOpenRuns: boolean
  /** The slot held back until now is given up for a later one. */
  supersedesPending: boolean
  accountedUntil: Date
  nextSlotAt: Date | null
  nextFireAt: Date | null
  /** Slots that are due already were left for the next pass. */
  hasMore: boolean
}

/** Of one schedule in one pass. */
export const maxSlotsPerPass = 1000
/** A tick is at most a second behind; what is later than two was held up. */
export const lateAfterMs = 2000
/** Fewer slots than this get a row each. */
const shortestRange = 10

interface DueSlot {
  at: Date
  latenessMs: number
}

/** What becomes of every slot that is due by now. Throws where the slots cannot be computed. */
export function decide(schedule: DueSchedule, situation: Situation): Decision {
  const keep = misfireCount(schedule.misfire)
  const { maxSlots = maxSlotsPerPass } = schedule
  // As many slots are looked at beyond those taken as misfire may keep, so the latest are known before any is passed by.
  const due = dueSlots(schedule, situation.now, maxSlots + keep)
  const missed = due.filter((slot) => slot.latenessMs > schedule.graceMs)
  const given = new Set(missed.slice(Math.max(0, missed.length - keep)))
  const taken = due.slice(0, maxSlots)
  const wanted = taken.filter((slot) => slot.latenessMs <= schedule.graceMs || given.has(slot))
  const overlap = decideOverlap(schedule.overlap, wanted, situation)

  const entries = taken.map((slot): LedgerEntry => {
    const verdict = overlap.verdicts.get(slot) ?? { status: 'missed', reason: 'misfire' }
    const firedLate = verdict.status === 'fired' && given.has(slot)
    return {
      slotAt: slot.at,
      status: verdict.status,
      reason: firedLate ? schedule.misfire.policy : verdict.reason,
      late: verdict.status === 'fired' && slot.latenessMs > lateAfterMs,
      slotTo: null,
      count: 1,
    }
  })
  const accountedUntil = taken.at(-1)?.at ?? schedule.accountedUntil
  const next = nextSlot(schedule.spec, accountedUntil)
  const nextFireAt = next && fireTime(schedule.id, next, schedule.jitterSeconds)
  const hasMore = nextFireAt !== null && nextFireAt <= situation.now
  return {
    entries: mergeRanges(entries),
    cancelsOpenRuns: overlap.cancelsOpenRuns,
    supersedesPending: overlap.supersedesPending,
    accountedUntil,
    nextSlotAt: next,
    // A schedule that is far behind queues up behind the others again, instead of going first until it is done.
    nextFireAt: hasMore ? situation.now : nextFireAt,
    hasMore,
  }
}

const misfireCount = (misfire: StoredMisfire): number =>
  misfire.policy === 'catch_up' ? misfire.max : misfire.policy === 'run_once' ? 1 : 0

function dueSlots(schedule: DueSchedule, now: Date, limit: number): DueSlot[] {
  const due: DueSlot[] = []
  let last = schedule.accountedUntil
  let fireAt = -Infinity
  while (due.length < limit) {
    const at = nextSlot(schedule.spec, last)
    if (!at) break
    // Jitter does not let a slot overtake the one before it.
    fireAt = Math.max(fireAt, fireTime(schedule.id, at, schedule.jitterSeconds).getTime())
    if (fireAt > now.getTime()) break
    due.push({ at, latenessMs: now.getTime() - fireAt })
    last = at
  }
  return due
}

type Verdict = Pick<LedgerEntry, 'status' | 'reason'>
const fired: Verdict = { status: 'fired', reason: null }
const pending: Verdict = { status: 'pending', reason: 'overlap' }

function decideOverlap(policy: OverlapPolicy, wanted: DueSlot[], { isRunOpen, pendingSlot }: Situation) {
  const verdicts = new Map<DueSlot, Verdict>()
  let isBusy = isRunOpen || pendingSlot !== null
  let isHeld = pendingSlot !== null
  const result = { verdicts, cancelsOpenRuns: false, supersedesPending: false }
  for (const [index, slot] of wanted.entries()) {
    if (policy === 'allow') verdicts.set(slot, fired)
    else if (policy === 'cancel_previous' && index < wanted.length - 1)
      verdicts.set(slot, { status: 'coalesced', reason: 'superseded' })
    else if (!isBusy) {
      verdicts.set(slot, fired)
      isBusy = true
    } else if (policy === 'skip') verdicts.set(slot, { status: 'skipped', reason: 'overlap' })
    else if (policy === 'cancel_previous') {
      verdicts.set(slot, pending)
      result.cancelsOpenRuns = isRunOpen
      result.supersedesPending = pendingSlot !== null
    } else if (isHeld) verdicts.set(slot, { status: 'coalesced', reason: 'overlap' })
    else {
      verdicts.set(slot, pending)
      isHeld = true
    }
  }
  return result
}

/** Neighbours with the same fate become one row where they are many. Slots that fired or will fire keep a row each. */
function mergeRanges(entries: LedgerEntry[]): LedgerEntry[] {
  const merged: LedgerEntry[] = []
  for (let start = 0; start < entries.length;) {
    const first = entries[start]
    if (!first) break
    let end = start + 1
    if (first.status !== 'fired' && first.status !== 'pending')
      while (entries[end]?.status === first.status && entries[end]?.reason === first.reason) end += 1
    const group = entries.slice(start, end)
    if (group.length < shortestRange) merged.push(...group)
    else merged.push({ ...first, slotTo: group.at(-1)?.slotAt ?? null, count: group.length })
    start = end
  }
  return merged
}
