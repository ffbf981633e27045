import { sql, type Kysely, type Transaction } from 'kysely'
import type { Database } from '../../db/database.ts'
import { toJsonText } from '../../db/json.ts'
import type { ScheduleRow } from '../../db/tables/schedules.table.ts'
import { uuidv7 } from '../../lib/ids.ts'
import { insertRuns, type NewRun } from '../runs/create-run.ts'
import { decide, type Decision } from './decide.ts'
import { recordScheduleEvents, type NewScheduleEvent } from './events.ts'
import { dropPendingSlots, insertLedgerRows, skipSlots, type NewLedgerRow } from './ledger.ts'
import { scheduledRun, type RunSource } from './scheduled-run.ts'
import { lateEvent, missedEvent } from './slot-events.ts'
import type { SlotWatch } from './slot-watch.ts'
import { fireTime, specOf, type TimingColumns } from './timing.ts'

export type DueRow = Omit<RunSource, 'recipe_version'> &
  TimingColumns &
  Pick<ScheduleRow, 'grace_s' | 'misfire' | 'overlap' | 'jitter_s' | 'accounted_until' | 'alerts'> & {
    recipe_version: number | null
    now: Date
  }

/** Due schedules, each locked by this transaction alone; what another ticker holds is passed over. */
export const selectDue = (limit: number, only: string | null = null) => sql<DueRow>`
  select s.id, s.workspace_id, s.recipe_id, s.name, s.input, s.cron, s.interval_s, s.anchor_at, s.timezone, s.grace_s,
    s.misfire, s.overlap, s.dst, s.jitter_s, s.start_at, s.end_at, s.accounted_until,
    s.alerts, v.version as recipe_version, v.definition -> 'settings' as settings, s.priority,
    date_trunc('milliseconds', app_now()) as now
  from schedules s
  left join workflow_recipes w on w.id = s.recipe_id and w.deleted_at is null
  left join recipe_versions v on v.recipe_id = w.id and v.version = w.version
  where s.next_fire_at <= app_now()${only === null ? sql`` : sql` and s.id = ${only}`}
  order by s.next_fire_at
  limit ${limit}
  for update of s skip locked`

export interface DuePass {
  /** Runs to wake once the transaction has committed. */
  started: string[]
  /** Runs whose lease holder has to read its inbox. */
  commanded: string[]
  schedules: number
  /** Runs were told to end for a later slot. */
  canceled: boolean
  /** More is due than this pass took. */
  hasMore: boolean
  parked: { scheduleId: string; fault: string }[]
}

/** Slots that one pass computes in all, so that schedules far behind cannot hold up the process. */
const slotBudget = 10_000
/** Of schedules whose recipes limit their starts: each of these has locks and rows of its own until the commit. */
const policedBudget = 500
const policedSlotsPerSchedule = 250

/**
 * Takes due schedules, writes their slots, starts their runs and moves their watermarks: all in the caller's transaction.
 * `only`: of this schedule alone.
 */
export async function fireDue(
  tx: Transaction<Database>,
  limit: number,
  watch: SlotWatch,
  only: string | null = null,
): Promise<DuePass> {
  const { rows } = await selectDue(limit, only).execute(tx)
  const pass: DuePass = {
    started: [],
    commanded: [],
    schedules: 0,
    canceled: false,
    hasMore: rows.length === limit,
    parked: [],
  }
  if (rows.length === 0) return pass
  const held = await heldUp(tx, rows)
  const decided: { row: DueRow; decision: Decision }[] = []
  let slots = 0
  let policed = 0
  for (const row of rows) {
    const isPoliced = hasPolicy(row)
    if (slots >= slotBudget || (isPoliced && policed >= policedBudget)) {
      pass.hasMore = true
      continue
    }
    pass.schedules += 1
    const outcome = decideOrFault(row, held)
    if ('fault' in outcome) pass.parked.push({ scheduleId: row.id, fault: outcome.fault })
    else {
      decided.push({ row, decision: outcome })
      slots += outcome.entries.reduce((sum, entry) => sum + entry.count, 0)
      if (isPoliced) policed += outcome.entries.filter((entry) => entry.status === 'fired').length
      pass.hasMore ||= outcome.hasMore
    }
  }
  const superseded = decided.filter(({ decision }) => decision.supersedesPending)
  await dropPendingSlots(
    tx,
    superseded.map(({ row }) => row.id),
    { status: 'coalesced', reason: 'superseded' },
  )
  if (superseded.length > 0) watch.accounted('coalesced', superseded.length)
  const ending = decided.flatMap(({ row, decision }) =>
    decision.cancelsOpenRuns ? (held.get(row.id)?.runIds ?? []) : [],
  )
  const { started, commanded } = await writeSlotsAndRuns(tx, decided, ending, watch)
  pass.started = started
  pass.commanded = commanded
  pass.canceled = ending.length > 0
  await moveWatermarks(tx, decided)
  await park(tx, pass.parked)
  await recordScheduleEvents(tx, eventsOf(rows, decided, pass.parked))
  return pass
}

const hasPolicy = ({ settings }: DueRow) => Boolean(settings?.concurrency ?? settings?.throttle)

interface Held {
  runIds: string[]
  pendingSlot: Date | null
}

/** Open runs and held-back slots of the schedules whose overlap policy asks for them. A backfill keeps its own measure. */
async function heldUp(tx: Transaction<Database>, rows: DueRow[]): Promise<Map<string, Held>> {
  const ids = rows.flatMap((row) => (row.overlap === 'allow' ? [] : [row.id]))
  const held = new Map(ids.map((id): [string, Held] => [id, { runIds: [], pendingSlot: null }]))
  if (ids.length === 0) return held
  const found = await sql<{ schedule_id: string; run_id: string | null; slot_at: Date | null }>`
    select schedule_id, id as run_id, null::timestamptz as slot_at from runs
      where schedule_id in (${sql.join(ids)}) and state not in ('succeeded', 'failed', 'canceled', 'timed_out')
        and trigger ->> 'kind' <> 'backfill'
    union all
    select schedule_id, null, slot_at from schedule_slots
      where schedule_id in (${sql.join(ids)}) and status = 'pending'`.execute(tx)
  for (const { schedule_id, run_id, slot_at } of found.rows) {
    const entry = held.get(schedule_id)
    if (run_id !== null) entry?.runIds.push(run_id)
    else if (entry) entry.pendingSlot = slot_at
  }
  return held
}

function decideOrFault(row: DueRow, held: Map<string, Held>): Decision | { fault: string } {
  if (row.recipe_version === null) return { fault: 'The recipe no longer exists.' }
  const situation = held.get(row.id)
  try {
    return decide(
      {
        id: row.id,
        spec: specOf(row),
        graceMs: row.grace_s * 1000,
        jitterSeconds: row.jitter_s,
        misfire: row.misfire,
        overlap: row.overlap,
        accountedUntil: row.accounted_until,
        ...(hasPolicy(row) && { maxSlots: policedSlotsPerSchedule }),
      },
      {
        now: row.now,
        isRunOpen: situation !== undefined && situation.runIds.length > 0,
        pendingSlot: situation?.pendingSlot ?? null,
      },
    )
  } catch (error) {
    return { fault: error instanceof Error ? error.message : String(error) }
  }
}

/** `ending`: open runs that end for later slots, with the runs that their steps have started. */
async function writeSlotsAndRuns(
  tx: Transaction<Database>,
  decided: { row: DueRow; decision: Decision }[],
  ending: readonly string[],
  watch: SlotWatch,
): Promise<{ started: string[]; commanded: string[] }> {
  const ledger: NewLedgerRow[] = []
  const runs: NewRun[] = []
  // Ids ascend with the slots, so runs of one moment list in the order of their slots.
  const firing = decided.flatMap(({ decision }) => decision.entries.filter((entry) => entry.status === 'fired'))
  const runIds = firing.map(() => uuidv7()).toSorted()
  let next = 0
  for (const { row, decision } of decided) {
    for (const entry of decision.entries) {
      const runId = entry.status === 'fired' ? (runIds[next++] ?? null) : null
      ledger.push({ ...entry, scheduleId: row.id, workspaceId: row.workspace_id, runId })
      watch.accounted(entry.status, entry.count)
      if (runId !== null && row.recipe_version !== null) {
        const run = scheduledRun({ ...row, recipe_version: row.recipe_version }, entry.slotAt, runId)
        runs.push(watch.firing(run, row.now.getTime() - fireTime(row.id, entry.slotAt, row.jitter_s).getTime()))
      }
    }
  }
  const recorded = await insertLedgerRows(tx, ledger)
  const starting = runs.filter((run) => recorded.has(run.id))
  const reason = 'A later slot of the same schedule takes its place.'
  const admission = await insertRuns(tx, starting, new Map(ending.map((id) => [id, reason])))
  watch.admitted(admission)
  await skipSlots(tx, admission.skipped)
  return { started: starting.map((run) => run.id), commanded: admission.commanded }
}

async function moveWatermarks(tx: Transaction<Database>, decided: { row: DueRow; decision: Decision }[]) {
  if (decided.length === 0) return
  const text = toJsonText(
    decided.map(({ row, decision }) => ({
      id: row.id,
      accounted_until: decision.accountedUntil,
      next_slot_at: decision.nextSlotAt,
      next_fire_at: decision.nextFireAt,
    })),
  )
  await sql`
    update schedules s set accounted_until = r.accounted_until, next_slot_at = r.next_slot_at,
      next_fire_at = r.next_fire_at
    from jsonb_to_recordset(${text}::text::jsonb) as r(
      id uuid, accounted_until timestamptz, next_slot_at timestamptz, next_fire_at timestamptz)
    where s.id = r.id`.execute(tx)
}

function eventsOf(
  rows: DueRow[],
  decided: { row: DueRow; decision: Decision }[],
  parked: DuePass['parked'],
): NewScheduleEvent[] {
  const ofSlots = decided.flatMap(({ row, decision: { entries } }) => {
    const fired = entries.flatMap(({ status, slotAt }) =>
      status === 'fired'
        ? [{ slotAt, latenessMs: row.now.getTime() - fireTime(row.id, slotAt, row.jitter_s).getTime() }]
        : [],
    )
    return [...missedEvent(row, entries), ...lateEvent(row, fired, null)]
  })
  const ofFaults = parked.flatMap(({ scheduleId, fault }) => {
    const schedule = rows.find((row) => row.id === scheduleId)
    return schedule ? [{ schedule, type: 'schedule.parked' as const, data: { fault } }] : []
  })
  return [...ofSlots, ...ofFaults]
}

async function park(tx: Transaction<Database>, parked: DuePass['parked']) {
  for (const { scheduleId, fault } of parked)
    await tx.updateTable('schedules').set({ next_fire_at: null, fault }).where('id', '=', scheduleId).execute()
}

/** Puts off a schedule that cannot be fired: it has the first place among those that are due, and would keep it. */
export async function deferDue(db: Kysely<Database>, id: string): Promise<void> {
  await db
    .updateTable('schedules')
    .set({ next_fire_at: sql<Date>`app_now() + ${deferredSeconds}::integer * interval '1 second'` })
    .where('id', '=', id)
    .where('next_fire_at', '<=', sql<Date>`app_now()`)
    .execute()
}

const deferredSeconds = 60
