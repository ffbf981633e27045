import type { BackgroundService, Runtime, TickReport } from '../../context.ts'
import type { Bindings } from './bindings.ts'
import { tick } from '../tick-span.ts'
import { pokeDueRuns, serviceClock } from './dispatch.ts'
import { SweepStatus } from './sweep-status.ts'

/** A cron trigger comes each minute: a pass leaves room for the next. */
const budgetMs = 40_000
const cronMs = 60_000
/** Between two passes, so that work which cannot be done yet does not spin. */
const pauseMs = 250

/**
 * One pass over all background services, each until it has nothing left, and then over the runs that are ready.
 * Services that know of work before the next cron minute set the service clock to it.
 */
export async function sweep(
  runtime: Runtime,
  bindings: Pick<Bindings, 'DISPATCHER' | 'SERVICE_CLOCK'>,
  services: readonly BackgroundService[],
  status?: SweepStatus,
): Promise<TickReport> {
  const begun = runtime.clock.monotonicMs()
  const timeLeft = () => runtime.clock.monotonicMs() - begun < budgetMs
  const total = { done: 0, more: false, nextInMs: Infinity }
  const failed: unknown[] = []
  for (const service of services) {
    // Those hold something in memory between ticks, and here nothing stays in memory: the dispatchers do their work.
    if (service.processBound) continue
    status?.begin(service)
    try {
      let report: TickReport
      let done = 0
      do {
        report = await tick(service, runtime)
        done += report.done
      } while (report.more && timeLeft())
      status?.succeeded(service, { done })
      total.done += done
      total.more ||= report.more
      total.nextInMs = Math.min(total.nextInMs, report.nextInMs ?? Infinity)
    } catch (error) {
      // One service's fault is not the others' business.
      status?.failed(service, error)
      runtime.log.error('A background service failed', { service: service.name, error })
      failed.push(error)
    }
  }
  await pokeDueRuns(bindings, runtime.db)
  if (failed.length > 0)
    throw new AggregateError(failed, `${failed.length} of ${services.length} background services failed.`)
  const { done, more, nextInMs } = total
  return nextInMs < cronMs ? { done, more, nextInMs: Math.max(pauseMs, nextInMs) } : { done, more }
}

/**
 * The cron minute: a pass of its own, so that nothing depends on an alarm, and the alarm for what is due sooner. It alone
 * calls what measures at even distances, which sees how the others fared.
 */
export async function sweepEachMinute(
  runtime: Runtime,
  bindings: Pick<Bindings, 'DISPATCHER' | 'SERVICE_CLOCK'>,
  services: readonly BackgroundService[],
  scheduledAtMs: number,
): Promise<void> {
  const status = new SweepStatus(runtime.clock, cronMs, scheduledAtMs)
  runtime.services = () => status.list()
  // Where a service fails, what the others know to be due soon must not wait for the next cron minute.
  let delayMs: number | undefined = pauseMs
  try {
    const { more, nextInMs } = await sweep(runtime, bindings, services, status)
    delayMs = more ? 0 : nextInMs
  } finally {
    if (delayMs !== undefined) await serviceClock(bindings).poke(delayMs)
  }
}
