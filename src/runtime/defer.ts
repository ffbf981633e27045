import type { Log } from '../context.ts'

export interface DeferredWork {
  defer(work: Promise<unknown>): void
  /** Resolves when nothing is left, work that was deferred meanwhile included. */
  settled(): Promise<void>
}

/** Work of a long-lived process that outlives the request it came from. A failure is logged, never thrown. */
export function createDeferredWork(log: Log): DeferredWork {
  const pending = new Set<Promise<void>>()
  return {
    defer(work) {
      const tracked = work
        .then(
          () => {},
          (error: unknown) => log.error('Deferred work failed', { error }),
        )
        .finally(() => pending.delete(tracked))
      pending.add(tracked)
    },
    async settled() {
      while (pending.size > 0) await Promise.all(pending)
    },
  }
}
