import { ConfigError, type Config } from '../../config.ts'
import type { BackgroundService, Runtime, TickReport } from '../../context.ts'
import { workersInstance } from '../../lib/workers-instance.ts'
import { alarmWorker } from './alarm-worker.ts'
import type { Bindings, WaitUntil } from './bindings.ts'
import { openPreparedRuntime, openWorkerRuntime, prepareIsolate, workerConfig } from './runtime.ts'
import { sweep, sweepEachMinute } from './sweep.ts'

/** Starting a step is safe until here: it may take 8 minutes, and an alarm gets 15. */
const sliceBudgetMs = 5 * 60_000

type Opened = { runtime: Runtime; close(): Promise<void> }
type Fetch = (request: Request, env?: unknown, executionCtx?: { waitUntil: WaitUntil }) => Response | Promise<Response>

/** The parts of the product that a platform adapter may not know by itself. */
export interface WorkerParts {
  createApp(config: Config, open: (env: unknown, executionCtx?: { waitUntil: WaitUntil }) => Opened): { fetch: Fetch }
  backgroundServices(config: Config): readonly BackgroundService[]
  /** The settings of the installation as the database has them, read again behind a request that finds them old. */
  refreshStaleSettings(runtime: Runtime): void
  runSlice(runtime: Runtime, options: { budgetMs: number; owner: string }): Promise<TickReport>
}

/** The Worker's entry points and its Durable Object classes. */
export function createWorker({ createApp, backgroundServices, refreshStaleSettings, runSlice }: WorkerParts) {
  // Made with the first request of the isolate, because that brings the settings.
  let app: { fetch: Fetch } | undefined
  const appFor = (bindings: Bindings) =>
    (app ??= createApp(workerConfig(bindings), (env, context) => {
      // The env that the app hands back is the one that fetch gave it.
      const opened = openWorkerRuntime(env as Bindings, (work) => context?.waitUntil(work))
      refreshStaleSettings(opened.runtime)
      return opened
    }))

  return {
    fetch(request: Request, bindings: Bindings, context: ExecutionContext): Response | Promise<Response> {
      try {
        const preparing = prepareIsolate(bindings)
        const answer = () => appFor(bindings).fetch(request, bindings, context)
        return preparing ? preparing.then(answer) : answer()
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error
        console.error(JSON.stringify({ level: 'error', message: 'The configuration is invalid', faults: error.faults }))
        return unconfigured(request)
      }
    },

    async scheduled(controller: ScheduledController, bindings: Bindings, context: ExecutionContext): Promise<void> {
      const { runtime, close } = await openPreparedRuntime(bindings, (work) => context.waitUntil(work))
      try {
        await sweepEachMinute(runtime, bindings, backgroundServices(runtime.config), controller.scheduledTime)
      } finally {
        await close()
      }
    },

    /** Advances runs: one of these a shard. */
    RunDispatcher: alarmWorker(
      (runtime, owner) => runSlice(runtime, { budgetMs: sliceBudgetMs, owner: `${workersInstance}/${owner}` }),
      openPreparedRuntime,
    ),
    /** Ticks the background services between the cron minutes. */
    ServiceClock: alarmWorker((runtime, _owner, bindings) => {
      const services = backgroundServices(runtime.config).filter(({ steady }) => !steady)
      return sweep(runtime, bindings, services)
    }, openPreparedRuntime),
  }
}

function unconfigured(request: Request): Response {
  const problem = {
    type: '/problems/unavailable',
    title: 'Service unavailable',
    status: 503,
    detail: 'The configuration of this service is invalid. Its log names every fault.',
    instance: new URL(request.url).pathname,
  }
  return new Response(JSON.stringify(problem), {
    status: 503,
    headers: { 'content-type': 'application/problem+json', 'cache-control': 'no-store' },
  })
}
