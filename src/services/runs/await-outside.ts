import type { Flow } from './flow.ts'

/** What a look found: what was waited for, or until when to go on waiting (null: without end). */
export type Look<A> = { found: A } | { until: Date | null }

/** Where the database's clock has not come to an end that this process's has: looks do not follow each other at once. */
const shortestRestMs = 50

/**
 * Waits for what others bring: a person, a sender of events, another run. They store it first and nudge the run then; a
 * nudge between a look and the rest behind it ends the rest, and a run with a command in its inbox may not park. So
 * nothing is missed, and a run that waits holds no process.
 */
export async function awaitOutside<A>(
  flow: Flow,
  path: string,
  signal: AbortSignal,
  look: () => Promise<Look<A>>,
): Promise<{ found: A } | 'parked'> {
  const { resting } = flow
  for (;;) {
    const seen = resting.nudges
    const sight = await flow.read(look)
    if ('found' in sight) return sight
    flow.startable(signal)
    const ms = sight.until ? Math.max(shortestRestMs, sight.until.getTime() - flow.nowMs()) : Infinity
    const verdict = await resting.restUntilNudged(path, ms, sight.until?.toISOString() ?? null, signal, seen)
    if (verdict === 'parked') return 'parked'
  }
}
