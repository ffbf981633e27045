import type { Runtime, TickReport } from '../../context.ts'
import { wakeDueRuns } from './claim.ts'
import { nextHeldInMs, wakeHeldRuns } from './concurrency/held.ts'
import { passSlots } from './concurrency/slots.ts'
import { Engine } from './engine.ts'
import type { StepExecutors } from './step-executor.ts'

const renewEveryMs = 10_000
const inboxEveryMs = 1_000
const wakeBatch = 500

/**
 * Works on runs for a bounded time where no process lives long: claims what is ready, advances it, and comes back when
 * nothing is left or the budget is spent. After the budget no step starts; runs are handed back where they stand.
 */
export async function runSlice(
  runtime: Runtime,
  options: { budgetMs: number; owner: string; concurrency?: number; executors?: StepExecutors },
): Promise<TickReport> {
  const engine = new Engine(runtime, {
    owner: options.owner,
    concurrency: options.concurrency ?? 10,
    ...(options.executors ? { executors: options.executors } : {}),
  })
  const logFailure = (error: unknown) => runtime.log.warn('A slice could not reach its database.', { error })
  const endMs = runtime.clock.monotonicMs() + options.budgetMs
  const timers = [
    setInterval(() => void engine.renew().catch(logFailure), renewEveryMs),
    setInterval(() => void engine.pollInbox().catch(logFailure), inboxEveryMs),
  ]
  let done = 0
  let spent = false
  try {
    for (;;) {
      await wakeDueRuns(runtime.db, wakeBatch)
      await wakeHeldRuns(runtime.db, wakeBatch, runtime.log)
      await passSlots(runtime.db, runtime)
      done += await engine.claim()
      if (engine.inFlight === 0) break
      const leftMs = endMs - runtime.clock.monotonicMs()
      if (leftMs <= 0) {
        spent = true
        break
      }
      await firstOf(engine.anyLeft(), leftMs)
    }
    engine.stopStarting()
    await engine.idle()
  } finally {
    for (const timer of timers) clearInterval(timer)
  }
  const heldInMs = await nextHeldInMs(runtime.db)
  const nextInMs = Math.min(engine.nextWakeInMs ?? Infinity, heldInMs ?? Infinity)
  return { done, more: spent, ...(nextInMs === Infinity ? {} : { nextInMs }) }
}

async function firstOf(work: Promise<void>, ms: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined
  await Promise.race([work, new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)))])
  clearTimeout(timer)
}
