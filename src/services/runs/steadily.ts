import type { Clock } from '../../context.ts'
import { RunLost, type RunWriter } from './run-writer.ts'

/** After this long without a confirmed write or renewal an owner must assume that its lease (30 s) is gone. */
const giveUpMs = 25_000

/** A statement of the engine answers in milliseconds. A line that died unnoticed would hold it for many minutes. */
const answerWithinMs = 15_000

/** The statement's answer, or an error where it stays out. It may have been carried out all the same. */
export async function answered<T>(statement: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const silence = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('The database did not answer.')), answerWithinMs)
  })
  try {
    return await Promise.race([statement, silence])
  } finally {
    clearTimeout(timer)
  }
}

/** SQLSTATE classes 21, 22, 23 and 54 speak of the values, 42 of the statement: trying again cannot help. */
export function isRefused(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === 'string' && /^(21|22|23|42|54)[0-9A-Z]{3}$/.test(code)
}

/**
 * Repeats a statement on behalf of a run until the database answers: a connection that breaks ends no run. Throws what
 * the database refuses, and RunLost once the run's lease could not be confirmed for too long.
 */
export async function steadily<T>(writer: RunWriter, clock: Clock, statement: () => Promise<T>): Promise<T> {
  for (let delayMs = 50; ; delayMs = Math.min(1_000, delayMs * 2)) {
    try {
      return await answered(statement())
    } catch (error) {
      if (error instanceof RunLost || isRefused(error)) throw error
      if (!writer.lost && clock.monotonicMs() - writer.confirmedMs > giveUpMs) writer.markLost()
      if (writer.lost) throw new RunLost()
    }
    await new Promise((resolve) => setTimeout(resolve, delayMs))
  }
}
