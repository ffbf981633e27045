import { sql } from 'kysely'
import type { BackgroundService, Runtime, TickReport } from '../../context.ts'
import { fireDue } from './due-pass.ts'
import { firePending } from './pending-pass.ts'

const batchSize = 200
const batchesPerTick = 5

/**
 * Fires what is due by the database's clock. Any number of processes may tick at once: a schedule is advanced under its
 * row lock, and its slots, its runs and its watermark are one transaction.
 */
export async function schedulesTick(runtime: Runtime): Promise<TickReport> {
  let done = 0
  let more = true
  for (let batch = 0; batch < batchesPerTick && more; batch++) {
    const pass = await runBatch(runtime)
    done += pass.done
    more = pass.more
  }
  const nextInMs = more ? undefined : await nextDueInMs(runtime)
  return { done, more, ...(nextInMs === undefined ? {} : { nextInMs }) }
}

async function runBatch(runtime: Runtime): Promise<{ done: number; more: boolean }> {
  const { wake, log } = runtime
  const { released, due } = await runtime.db.transaction().execute(async (tx) => {
    const before = await firePending(tx, batchSize)
    const pass = await fireDue(tx, batchSize)
    // A run that nobody held is ended by its cancellation, so the slot that waits for it may start at once.
    const after = pass.canceled ? await firePending(tx, batchSize) : []
    return { released: [...before, ...after], due: pass }
  })
  for (const runId of [...released, ...due.started]) wake.runReady(runId)
  for (const runId of due.commanded) wake.command(runId)
  for (const { scheduleId, fault } of due.parked)
    log.error('A schedule cannot be computed and is parked.', { schedule_id: scheduleId, fault })
  return { done: released.length + due.schedules, more: due.hasMore || released.length >= batchSize }
}

async function nextDueInMs({ db }: Runtime): Promise<number | undefined> {
  const { rows } = await sql<{ ms: number | null }>`
    select ceil(extract(epoch from min(next_fire_at) - app_now()) * 1000)::double precision as ms
    from schedules where next_fire_at is not null`.execute(db)
  const ms = rows[0]?.ms
  return ms === null || ms === undefined ? undefined : Math.max(0, ms)
}

export const schedulesService: BackgroundService = {
  name: 'schedules',
  periodMs: 1000,
  wakeOn: ['schedules-changed'],
  tick: schedulesTick,
}
