import type { BackgroundService, Runtime, TickReport } from '../../context.ts'
import type { Bindings } from './bindings.ts'
import { pokeDueRuns, serviceClock } from './dispatch.ts'

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
): Promise<TickReport> {
  const begun = runtime.clock.monotonicMs()
  const timeLeft = () => runtime.clock.monotonicMs() - begun < budgetMs
  const total = { done: 0, more: false, nextInMs: Infinity }
  const failed: unknown[] = []
  for (const service of services) {
    // Those hold something in memory between ticks, and here nothing stays in memory: the dispatchers do their work.
    if (service.processBound) continue
    try {
      let report: TickReport
      do {
        report = await service.tick(runtime)
        total.done += report.done
      } while (report.more && timeLeft())
      total.more ||= report.more
      total.nextInMs = Math.min(total.nextInMs, report.nextInMs ?? Infinity)
    } catch (error) {
      // One service's fault is not the others' business.
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

/** The cron minute: a pass of its own, so that nothing depends on an alarm, and the alarm for what is due sooner. */
export async function sweepEachMinute(
  runtime: Runtime,
  bindings: Pick<Bindings, 'DISPATCHER' | 'SERVICE_CLOCK'>,
  services: readonly BackgroundService[],
): Promise<void> {
  const { more, nextInMs } = await sweep(runtime, bindings, services)
  if (more || nextInMs !== undefined) await serviceClock(bindings).poke(more ? 0 : nextInMs)
}
