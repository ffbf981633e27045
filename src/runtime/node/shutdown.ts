import type { Log } from '../../context.ts'

export interface ShutdownStep {
  name: string
  run(): Promise<void>
}

/** Runs the steps in order. One that fails is logged, so that the later ones still run; false if any did. */
export async function runShutdown(steps: readonly ShutdownStep[], log: Log): Promise<boolean> {
  let clean = true
  for (const step of steps) {
    try {
      await step.run()
    } catch (error) {
      clean = false
      log.error('A part did not shut down cleanly', { part: step.name, error })
    }
  }
  return clean
}

const signalNumbers = { SIGINT: 2, SIGTERM: 15 } as const

/**
 * Resolves with the first SIGTERM or SIGINT. A second one ends the process at once: whoever asks twice means it, and
 * the leases of what was in flight expire by themselves.
 */
export function firstSignal(): Promise<keyof typeof signalNumbers> {
  return new Promise((resolve) => {
    let asked = false
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.on(signal, () => {
        if (asked) process.exit(128 + signalNumbers[signal])
        asked = true
        resolve(signal)
      })
    }
  })
}
