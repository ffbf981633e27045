import { sql, type Transaction } from 'kysely'
import type { BackgroundService, Runtime, TickReport } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { onceMore } from '../../db/once-more.ts'
import { DatabaseAway } from '../../lib/database-away.ts'
import { tellCanceled } from '../runs/ended-outside.ts'
import { deferDue, fireDue, selectDue, type DuePass } from './due-pass.ts'
import { firePending } from './pending-pass.ts'
import { SlotWatch } from './slot-watch.ts'

const batchSize = 500
const batchesPerTick = 5

/**
 * Fires what is due by the database's clock. Any number of processes may tick at once: a schedule is advanced under its
 * row lock, and its slots, its runs and its watermark are one transaction.
 */
export async function schedulesTick(runtime: Runtime): Promise<TickReport> {
  // Most ticks find nothing: all that they cost is this one look.
  let agenda = await readAgenda(runtime)
  let more = agenda.hasWork
  let done = 0
  for (let batch = 0; batch < batchesPerTick && more; batch++) {
    const pass = await runBatch(runtime)
    done += pass.done
    more = pass.more
  }
  if (more) return { done, more }
  if (done > 0) agenda = await readAgenda(runtime)
  return { done, more, ...(agenda.nextInMs === null ? {} : { nextInMs: agenda.nextInMs }) }
}

async function runBatch(runtime: Runtime): Promise<{ done: number; more: boolean }> {
  const released = await releasePending(runtime)
  const due = await fireAllDue(runtime)
  // A run that nobody held is ended by its cancellation, so the slot that waits for it may start at once.
  const after = due.canceled ? await releasePending(runtime) : 0
  return {
    done: released + after + due.schedules,
    more: due.hasMore || released >= batchSize,
  }
}

interface Pass {
  started: string[]
  commanded: string[]
}

/** One transaction, told of once it has committed. Locks are taken once in it, so that passes do not wait for each other. */
async function inPass<T extends Pass>(
  runtime: Runtime,
  pass: (tx: Transaction<Database>, watch: SlotWatch) => Promise<T>,
): Promise<T> {
  const { db, wake } = runtime
  const { result, watch } = await onceMore(async () => {
    const watch = new SlotWatch(runtime)
    return { result: await db.transaction().execute((tx) => pass(tx, watch)), watch }
  })
  watch.committed(result.started)
  await tellCanceled(runtime, watch.canceled)
  for (const runId of result.started) wake.runReady(runId)
  for (const runId of result.commanded) wake.command(runId)
  return result
}

/** Answers how many slots it has started. */
async function releasePending(runtime: Runtime): Promise<number> {
  const of = (limit: number, only: string | null = null) =>
    inPass(runtime, (tx, watch) => firePending(tx, limit, watch, only))
  try {
    return (await of(batchSize)).started.length
  } catch (error) {
    passOver(runtime, error)
    const ids = await runtime.db
      .selectFrom('schedule_slots')
      .select('schedule_id')
      .where('status', '=', 'pending')
      .orderBy('slot_at')
      .limit(batchSize)
      .execute()
    let started = 0
    for (const { schedule_id: id } of ids) {
      try {
        started += (await of(1, id)).started.length
      } catch (fault) {
        passOver(runtime, fault, id)
      }
    }
    return started
  }
}

async function fireAllDue(runtime: Runtime): Promise<Pick<DuePass, 'schedules' | 'canceled' | 'hasMore'>> {
  const of = async (limit: number, only: string | null = null) => {
    const pass = await inPass(runtime, (tx, watch) => fireDue(tx, limit, watch, only))
    for (const { scheduleId, fault } of pass.parked)
      runtime.log.error('A schedule cannot be computed and is parked.', { schedule_id: scheduleId, fault })
    return pass
  }
  try {
    return await of(batchSize)
  } catch (error) {
    passOver(runtime, error)
    const due = await selectDue(batchSize).execute(runtime.db)
    const all = { schedules: 0, canceled: false, hasMore: due.rows.length === batchSize }
    for (const { id } of due.rows) {
      try {
        const { schedules, canceled, hasMore } = await of(1, id)
        all.schedules += schedules
        all.canceled ||= canceled
        all.hasMore ||= hasMore
      } catch (fault) {
        passOver(runtime, fault, id)
        await deferDue(runtime.db, id)
      }
    }
    return all
  }
}

/** What one schedule meets holds up no other: after a pass that failed each has a transaction of its own. */
function passOver({ log }: Runtime, error: unknown, id?: string): void {
  if (error instanceof DatabaseAway) throw error
  if (id !== undefined) log.error('A schedule could not be fired and is put off.', { schedule_id: id, error })
}

/** Whether anything is due, or held back by an overlap: whether that may start, only a pass finds out. */
async function readAgenda({ db }: Runtime): Promise<{ hasWork: boolean; nextInMs: number | null }> {
  const { rows } = await sql<{ ms: number | null; held: boolean }>`
    select ceil(extract(epoch from min(next_fire_at) - app_now()) * 1000)::double precision as ms,
      exists (select from schedule_slots where status = 'pending') as held
    from schedules where next_fire_at is not null`.execute(db)
  const { ms, held } = rows[0] ?? { ms: null, held: false }
  return { hasWork: held || (ms !== null && ms <= 0), nextInMs: ms === null ? null : Math.max(0, ms) }
}

export const schedulesService: BackgroundService = {
  name: 'schedules',
  periodMs: 1000,
  wakeOn: ['schedules-changed'],
  tick: schedulesTick,
}
