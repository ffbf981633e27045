import { sql, type Selectable, type Transaction } from 'kysely'
import type { Database } from '../../db/database.ts'
import type { ScheduleSlotsTable } from '../../db/tables/schedules.table.ts'
import { uuidv7 } from '../../lib/ids.ts'
import { nextSlot, nextSlots } from '../../lib/slots/slots.ts'
import type { SlotSpec } from '../../lib/slots/spec.ts'
import { stretchOf } from '../../lib/slots/stretch.ts'
import type { LedgerEntry } from './decide.ts'
import { insertLedgerRows, type NewLedgerRow } from './ledger.ts'

type SlotRow = Selectable<ScheduleSlotsTable>

/** Slots that one pass of one backfill looks at, so that a long stretch of fired ones cannot hold up the others. */
const maxSlotsLookedAt = 500

export interface BackfillTarget {
  scheduleId: string
  workspaceId: string
  spec: SlotSpec
  /** Slots after it are undecided. */
  cursor: Date
  /** The end of the window: no slot at or after it. */
  to: Date
}

export interface TakenSlots {
  /** Now in the ledger as fired, each for a run that is to be made. */
  fired: { slotAt: Date; runId: string }[]
  passedOver: number
  cursor: Date
  /** The window holds nothing after the cursor. */
  exhausted: boolean
}

/**
 * Takes the next slots of a window that have not fired, at most `room` of them, and enters them in the ledger as fired. It
 * holds the schedule's row, as everything does that writes its ledger; the ledger's key decides all the same. Throws where
 * the slots cannot be computed.
 */
export async function takeSlots(tx: Transaction<Database>, target: BackfillTarget, room: number): Promise<TakenSlots> {
  const { spec, to, scheduleId } = target
  const end = spec.end && spec.end < to ? spec.end : to
  const window: SlotSpec = { ...spec, end }
  const slots = nextSlots(window, target.cursor, maxSlotsLookedAt)
  const [first] = slots
  const last = slots.at(-1)
  const taken: TakenSlots = { fired: [], passedOver: 0, cursor: target.cursor, exhausted: true }
  if (!first || !last) return taken

  const known = await ledgerBetween(tx, scheduleId, first, last)
  const singles = new Map(known.filter((row) => row.slot_to === null).map((row) => [row.slot_at.getTime(), row]))
  const ranges = known.filter((row) => row.slot_to !== null)
  const ran = await slotsWithRuns(tx, scheduleId, first, last)
  const plain: Date[] = []
  const revived: Date[] = []
  const ofRanges = new Map<SlotRow, Date[]>()
  let decided = 0
  for (const slot of slots) {
    if (plain.length + revived.length + count(ofRanges) >= room) break
    const at = slot.getTime()
    const single = singles.get(at)
    const range = ranges.find((row) => row.slot_at <= slot && slot <= row.slot_to!)
    const isOver = ran.has(at) || single?.status === 'fired' || single?.status === 'pending'
    // What leaves a range in one pass is one stretch of it: the rest is left to the next.
    if (isOver && range && ofRanges.has(range)) break
    decided += 1
    taken.cursor = slot
    if (isOver) continue
    if (single) revived.push(slot)
    else if (!range) plain.push(slot)
    else if (ofRanges.has(range) || isOfSpec(range, spec)) ofRanges.set(range, [...(ofRanges.get(range) ?? []), slot])
    // A range of other times, from before the schedule was changed, begins at this very instant: the key is taken.
    else if (range.slot_at.getTime() !== at) plain.push(slot)
  }
  const runIdOf = runIdsInOrder([...plain, ...revived, ...[...ofRanges.values()].flat()])
  const fired = [
    ...(await insertFired(tx, target, plain, runIdOf)),
    ...(await reviveSingles(tx, target, revived, runIdOf)),
    ...(await cutRanges(tx, target, ofRanges, runIdOf)),
  ]
  taken.fired = fired.toSorted((a, b) => a.slotAt.getTime() - b.slotAt.getTime())
  taken.passedOver = decided - fired.length
  taken.exhausted = nextSlot(window, taken.cursor) === null
  return taken
}

type RunIds = (slot: Date) => string

/** Ids ascend with the slots, so runs of one moment list in the order of their slots. */
function runIdsInOrder(slots: Date[]): RunIds {
  const ids = slots.map(() => uuidv7()).toSorted()
  const times = slots.map((slot) => slot.getTime()).toSorted((a, b) => a - b)
  const bySlot = new Map(times.map((time, index) => [time, ids[index]!]))
  return (slot) => bySlot.get(slot.getTime())!
}

const count = (ofRanges: Map<SlotRow, Date[]>) => [...ofRanges.values()].reduce((sum, list) => sum + list.length, 0)

/** Rows of the ledger for slots of a stretch, the range that begins before it included. */
async function ledgerBetween(tx: Transaction<Database>, scheduleId: string, first: Date, last: Date) {
  const ofSchedule = tx.selectFrom('schedule_slots').selectAll().where('schedule_id', '=', scheduleId)
  const before = await ofSchedule.where('slot_at', '<', first).orderBy('slot_at', 'desc').limit(1).execute()
  const within = await ofSchedule.where('slot_at', '>=', first).where('slot_at', '<=', last).execute()
  return [...before.filter((row) => row.slot_to !== null), ...within]
}

/** A run outlives a ledger that was cleared. */
async function slotsWithRuns(tx: Transaction<Database>, scheduleId: string, first: Date, last: Date) {
  const rows = await tx
    .selectFrom('runs')
    .select('slot_at')
    .where('schedule_id', '=', scheduleId)
    .where('slot_at', '>=', first)
    .where('slot_at', '<=', last)
    .execute()
  return new Set(rows.map((row) => row.slot_at?.getTime()))
}

/** Whether a range stands for slots of this timing: then it holds each of them between its ends, and nothing else. */
function isOfSpec(range: SlotRow, spec: SlotSpec): boolean {
  const stretch = range.slot_to && stretchOf(spec, before(range.slot_at), range.slot_to)
  return stretch?.count === range.count && stretch.from.getTime() === range.slot_at.getTime()
}

const before = (at: Date) => new Date(at.getTime() - 1)
const firedEntry = { status: 'fired', reason: 'backfill', late: false, slotTo: null, count: 1 } as const

async function insertFired(tx: Transaction<Database>, target: BackfillTarget, slots: Date[], runIdOf: RunIds) {
  const rows = slots.map((slotAt): NewLedgerRow & { runId: string } => ({
    ...firedEntry,
    slotAt,
    scheduleId: target.scheduleId,
    workspaceId: target.workspaceId,
    runId: runIdOf(slotAt),
  }))
  const made = await insertLedgerRows(tx, rows)
  return rows.filter((row) => made.has(row.runId)).map(({ slotAt, runId }) => ({ slotAt, runId }))
}

async function reviveSingles(tx: Transaction<Database>, target: BackfillTarget, slots: Date[], runIdOf: RunIds) {
  const fired: TakenSlots['fired'] = []
  for (const slotAt of slots) {
    const runId = runIdOf(slotAt)
    const row = await tx
      .updateTable('schedule_slots')
      .set({ status: 'fired', reason: 'backfill', late: false, run_id: runId, fired_at: sql<Date>`app_now()` })
      .where('schedule_id', '=', target.scheduleId)
      .where('slot_at', '=', slotAt)
      .where('status', 'in', ['skipped', 'missed', 'coalesced'])
      .returning('slot_at')
      .executeTakeFirst()
    if (row) fired.push({ slotAt, runId })
  }
  return fired
}

/** Slots leave the range that stood for them: it goes on before the first and after the last of them. */
async function cutRanges(
  tx: Transaction<Database>,
  target: BackfillTarget,
  ofRanges: Map<SlotRow, Date[]>,
  runIdOf: RunIds,
) {
  const fired: TakenSlots['fired'] = []
  for (const [range, slots] of ofRanges) {
    if (await hasRowsWithin(tx, range)) {
      fired.push(...(await insertFired(tx, target, slots, runIdOf)))
      continue
    }
    const gone = await tx
      .deleteFrom('schedule_slots')
      .where('schedule_id', '=', target.scheduleId)
      .where('slot_at', '=', range.slot_at)
      .where('slot_to', '=', range.slot_to)
      .where('count', '=', range.count)
      .returning('slot_at')
      .executeTakeFirst()
    const [first] = slots
    const last = slots.at(-1)
    if (!gone || !first || !last) continue
    const left = stretchOf(target.spec, before(range.slot_at), before(first))
    const right = stretchOf(target.spec, last, range.slot_to!)
    const rest = [left, right].flatMap((stretch): LedgerEntry[] =>
      stretch
        ? [
            {
              slotAt: stretch.from,
              slotTo: stretch.count > 1 ? stretch.to : null,
              count: stretch.count,
              status: range.status,
              reason: range.reason,
              late: range.late,
            },
          ]
        : [],
    )
    const { scheduleId, workspaceId } = target
    await insertLedgerRows(
      tx,
      rest.map((entry) => ({ ...entry, scheduleId, workspaceId, runId: null })),
    )
    fired.push(...(await insertFired(tx, target, slots, runIdOf)))
  }
  return fired
}

/** Times were changed, filled in and changed back: pieces of such a range would meet rows that are there already. */
async function hasRowsWithin(tx: Transaction<Database>, range: SlotRow): Promise<boolean> {
  const row = await tx
    .selectFrom('schedule_slots')
    .select('slot_at')
    .where('schedule_id', '=', range.schedule_id)
    .where('slot_at', '>', range.slot_at)
    .where('slot_at', '<=', range.slot_to)
    .limit(1)
    .executeTakeFirst()
  return row !== undefined
}
