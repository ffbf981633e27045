import { sql, type Transaction } from 'kysely'
import type { BackgroundService, Runtime, TickReport } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import type { ScheduleRow } from '../../db/tables/schedules.table.ts'
import { nextSlot } from '../../lib/slots/slots.ts'
import { policyOrFault } from '../runs/concurrency/policy.ts'
import { insertRuns, type NewRun } from '../runs/create-run.ts'
import { takeSlots, type TakenSlots } from './backfill-slots.ts'
import { skipSlots } from './ledger.ts'
import { scheduledRun, type RunSource } from './scheduled-run.ts'
import { SlotWatch } from './slot-watch.ts'
import { specOf } from './timing.ts'

const backfillsPerTick = 20

interface WorkRow extends Omit<RunSource, 'recipe_version'> {
  backfill_id: string
  backfill_state: 'running' | 'canceling'
  recipe_version: number | null
  concurrency: number
  cursor_at: Date
  to_at: Date
  paused: boolean
  cron: ScheduleRow['cron']
  interval_s: ScheduleRow['interval_s']
  anchor_at: Date
  timezone: string
  dst: ScheduleRow['dst']
  start_at: Date | null
  end_at: Date | null
}

/**
 * Takes each open backfill a step further: counts its runs that have ended and fires as many slots as its concurrency has
 * room for. All of a step is one transaction under the rows of backfill and schedule, so any number of processes may tick.
 */
export async function backfillsTick(runtime: Runtime): Promise<TickReport> {
  const open = await runtime.db
    .selectFrom('schedule_backfills')
    .select('id')
    .where('state', 'in', ['running', 'canceling'])
    .orderBy('checked_at')
    .limit(backfillsPerTick)
    .execute()
  let done = 0
  const failures: unknown[] = []
  for (const { id } of open) {
    try {
      done += await advanceOne(runtime, id)
    } catch (error) {
      failures.push(error)
      await giveWay(runtime, id)
    }
  }
  // Told only now: one that cannot be advanced holds up no other.
  if (failures.length > 0) throw failures[0]
  return { done, more: false }
}

async function advanceOne(runtime: Runtime, id: string): Promise<number> {
  const watch = new SlotWatch(runtime)
  const started = await runtime.db.transaction().execute((tx) => advance(tx, id, watch))
  watch.committed(started)
  for (const runId of started) runtime.wake.runReady(runId)
  return started.length
}

/** It has been looked at least long ago, and would come first again and again. */
async function giveWay({ db, log }: Runtime, id: string): Promise<void> {
  log.error('A backfill could not be advanced.', { backfill_id: id })
  const stepBack = db
    .updateTable('schedule_backfills')
    .set({ checked_at: sql<Date>`app_now()` })
    .where('id', '=', id)
  // Where the database is away there is nothing to step back from.
  await stepBack.execute().catch(() => {})
}

export const backfillsService: BackgroundService = {
  name: 'schedule-backfills',
  periodMs: 1000,
  wakeOn: ['schedules-changed'],
  tick: backfillsTick,
}

/** Answers the runs that it made. */
async function advance(tx: Transaction<Database>, id: string, watch: SlotWatch): Promise<string[]> {
  const row = await lockWork(tx, id)
  if (!row) return []
  const open = await countEnded(tx, id)
  if (row.backfill_state === 'canceling' || row.paused) {
    const isOver = row.backfill_state === 'canceling' && open === 0
    await tx
      .updateTable('schedule_backfills')
      .set({
        checked_at: sql<Date>`app_now()`,
        ...(isOver && { state: 'canceled', finished_at: sql<Date>`app_now()` }),
      })
      .where('id', '=', id)
      .execute()
    return []
  }
  if (row.recipe_version === null) return giveUp(tx, id, 'The recipe no longer exists.')
  const room = row.concurrency - open
  const taken = await take(tx, row, room)
  if ('fault' in taken) return giveUp(tx, id, taken.fault)
  const source = { ...row, recipe_version: row.recipe_version }
  const runs = taken.fired.map(({ slotAt, runId }) => watch.firing(backfilledRun(source, slotAt, runId), null))
  if (runs.length > 0) {
    const admission = await insertRuns(tx, runs)
    watch.admitted(admission)
    await skipSlots(tx, admission.skipped)
    await tx
      .insertInto('schedule_backfill_runs')
      .values(taken.fired.map(({ slotAt, runId }) => ({ backfill_id: id, run_id: runId, slot_at: slotAt })))
      .execute()
    watch.accounted('fired', runs.length)
  }
  const isOver = taken.exhausted && open + runs.length === 0
  await tx
    .updateTable('schedule_backfills')
    .set({
      checked_at: sql<Date>`app_now()`,
      cursor_at: taken.cursor,
      fired: sql<number>`fired + ${runs.length}::int`,
      passed_over: sql<number>`passed_over + ${taken.passedOver}::int`,
      ...(isOver && { state: 'finished', finished_at: sql<Date>`app_now()` }),
    })
    .where('id', '=', id)
    .execute()
  return runs.map((run) => run.id)
}

/** Passes over what somebody else holds: it is looked at again with the next tick. */
async function lockWork(tx: Transaction<Database>, id: string): Promise<WorkRow | undefined> {
  const { rows } = await sql<WorkRow>`
    select b.id as backfill_id, b.state as backfill_state, b.concurrency, b.cursor_at, b.to_at,
      s.id, s.workspace_id, s.recipe_id, s.name, s.input, s.paused, s.cron, s.interval_s, s.anchor_at, s.timezone, s.dst,
      s.start_at, s.end_at, v.version as recipe_version, v.definition -> 'settings' as settings, s.priority
    from schedule_backfills b
    join schedules s on s.id = b.schedule_id
    left join workflow_recipes w on w.id = s.recipe_id and w.deleted_at is null
    left join recipe_versions v on v.recipe_id = w.id and v.version = w.version
    where b.id = ${id} and b.state in ('running', 'canceling')
    for update of b, s skip locked`.execute(tx)
  return rows[0]
}

/** Counts the runs that have ended, by how, and lets go of them. Answers how many are open. */
async function countEnded(tx: Transaction<Database>, id: string): Promise<number> {
  const { rows } = await sql<{ run_id: string; state: string | null }>`
    select x.run_id, r.state from schedule_backfill_runs x left join runs r on r.id = x.run_id
    where x.backfill_id = ${id}`.execute(tx)
  const ended = rows.filter(({ state }) => state === null || terminal.has(state))
  if (ended.length === 0) return rows.length
  const of = (...states: string[]) => ended.filter(({ state }) => state !== null && states.includes(state)).length
  await tx
    .deleteFrom('schedule_backfill_runs')
    .where('backfill_id', '=', id)
    .where(
      'run_id',
      'in',
      ended.map(({ run_id }) => run_id),
    )
    .execute()
  await tx
    .updateTable('schedule_backfills')
    .set({
      succeeded: sql<number>`succeeded + ${of('succeeded')}::int`,
      failed: sql<number>`failed + ${of('failed', 'timed_out')}::int`,
      canceled: sql<number>`canceled + ${of('canceled')}::int`,
    })
    .where('id', '=', id)
    .execute()
  return rows.length - ended.length
}

const terminal = new Set(['succeeded', 'failed', 'canceled', 'timed_out'])

async function take(tx: Transaction<Database>, row: WorkRow, room: number): Promise<TakenSlots | { fault: string }> {
  if (room <= 0) return { fired: [], passedOver: 0, cursor: row.cursor_at, exhausted: false }
  const spec = specOf(row)
  try {
    nextSlot(spec, row.cursor_at)
  } catch (error) {
    return { fault: error instanceof Error ? error.message : String(error) }
  }
  const target = { scheduleId: row.id, workspaceId: row.workspace_id, spec, cursor: row.cursor_at, to: row.to_at }
  return takeSlots(tx, target, room)
}

async function giveUp(tx: Transaction<Database>, id: string, fault: string): Promise<string[]> {
  await tx
    .updateTable('schedule_backfills')
    .set({ state: 'failed', fault, finished_at: sql<Date>`app_now()` })
    .where('id', '=', id)
    .execute()
  return []
}

/** `previous` of such a run is the slot that its backfill ran before it: those of the schedule are not mixed with it. */
function backfilledRun(row: WorkRow & RunSource, slotAt: Date, runId: string): NewRun {
  const run = scheduledRun(row, slotAt, runId)
  const trigger = { ...run.trigger, kind: 'backfill', backfill_id: row.backfill_id }
  return {
    ...run,
    trigger,
    stateKey: `backfill:${row.backfill_id}`,
    ...policyOrFault(row.settings, row.recipe_id, { input: row.input, trigger }),
  }
}
