import type { Log, Wake, WakeSignal } from '../context.ts'

export interface LocalWake extends Wake {
  /** Hands a signal to every listener of this process. */
  deliver(signal: WakeSignal): void
}

/** Wake-ups within one process; `signaled` also sees each signal that this process gives, to carry it further. */
export function createLocalWake(log: Log, signaled: (signal: WakeSignal) => void = () => {}): LocalWake {
  const listeners = new Set<(signal: WakeSignal) => void>()
  const deliver = (signal: WakeSignal) => {
    for (const listener of listeners) {
      try {
        listener(signal)
      } catch (error) {
        log.error('A wake listener failed', { error, signal: signal.kind })
      }
    }
  }
  const signal = (signal: WakeSignal) => {
    deliver(signal)
    signaled(signal)
  }
  return {
    deliver,
    runReady: (runId) => signal({ kind: 'run-ready', runId }),
    command: (runId) => signal({ kind: 'command', runId }),
    events: (runId) => signal({ kind: 'events', runId }),
    schedulesChanged: () => signal({ kind: 'schedules-changed' }),
    listen(listener) {
      // Its own function, so that the same one may listen twice and leave once.
      const own = (signal: WakeSignal) => listener(signal)
      listeners.add(own)
      return () => void listeners.delete(own)
    },
  }
}
