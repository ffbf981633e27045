import { sql } from 'kysely'
import type { BackgroundService, Runtime, TickReport } from '../../context.ts'
import { tellCanceled } from '../runs/ended-outside.ts'
import { fireDue } from './due-pass.ts'
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
  const { wake, log } = runtime
  const watch = new SlotWatch(runtime)
  const { released, due } = await runtime.db.transaction().execute(async (tx) => {
    const before = await firePending(tx, batchSize, watch)
    const pass = await fireDue(tx, batchSize, watch)
    // A run that nobody held is ended by its cancellation, so the slot that waits for it may start at once.
    const after = pass.canceled ? await firePending(tx, batchSize, watch) : []
    return { released: [...before, ...after], due: pass }
  })
  const started = [...released, ...due.started]
  watch.committed(started)
  await tellCanceled(runtime, watch.canceled)
  for (const runId of started) wake.runReady(runId)
  for (const runId of due.commanded) wake.command(runId)
  for (const { scheduleId, fault } of due.parked)
    log.error('A schedule cannot be computed and is parked.', { schedule_id: scheduleId, fault })
  return { done: released.length + due.schedules, more: due.hasMore || released.length >= batchSize }
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
