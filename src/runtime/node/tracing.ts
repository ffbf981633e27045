import { AsyncLocalStorage } from 'node:async_hooks'
import { context, ROOT_CONTEXT, type Context, type ContextManager } from '@opentelemetry/api'
import type { Config } from '../../config.ts'
import { tracesSql, tracesUrl } from '../../config/tracing.ts'
import type { Log, Platform } from '../../context.ts'
import type { OpenedTracing } from '../tracing/open-tracing.ts'
import type { OnQuery } from '../tracing/sql-spans.ts'

const everyMs = 5_000

export interface ProcessTracing extends OpenedTracing {
  /** Only where statements are traced. */
  onQuery?: OnQuery
}

/** The SDK is loaded only by a process whose traces go somewhere. */
export async function openProcessTracing(
  config: Config,
  parts: { platform: Platform; instance: string; log: Log },
): Promise<ProcessTracing | null> {
  if (tracesUrl(config) === null) return null
  const { openTracing } = await import('../tracing/open-tracing.ts')
  const tracing = openTracing({ config, ...parts, everyMs })
  if (!tracesSql(config)) return tracing
  const { sqlSpans } = await import('../tracing/sql-spans.ts')
  context.setGlobalContextManager(new AsyncContexts())
  return { ...tracing, onQuery: sqlSpans(tracing.tracer) }
}

/** Code of ours hands its context on. Statements cannot, so while they are traced their context follows the promises. */
class AsyncContexts implements ContextManager {
  readonly #storage = new AsyncLocalStorage<Context>()

  active(): Context {
    return this.#storage.getStore() ?? ROOT_CONTEXT
  }

  with<A extends unknown[], F extends (...args: A) => ReturnType<F>>(
    place: Context,
    fn: F,
    thisArg?: ThisParameterType<F>,
    ...args: A
  ): ReturnType<F> {
    return this.#storage.run(place, () => fn.apply(thisArg, args))
  }

  bind<T>(_place: Context, target: T): T {
    return target
  }

  enable(): this {
    return this
  }

  disable(): this {
    this.#storage.disable()
    return this
  }
}
