import { sql, type RawBuilder } from 'kysely'
import type { Wake } from '../../context.ts'
import type { RunState } from '../../db/tables/runs.table.ts'

/**
 * Part of a statement that stores what a run waits for: tells the run to look, adds an event to its log, and gives the
 * state that it was in; null where it has ended. It takes the run's row lock. Call `wakeNudged` after the commit.
 */
export const nudged = (
  run: RawBuilder<unknown>,
  event: { type: string; data: RawBuilder<unknown> } | null = null,
): RawBuilder<RunState | null> =>
  event ? sql`nudge_run(${run}, ${event.type}::text, ${event.data})` : sql`nudge_run(${run})`

export function wakeNudged(wake: Wake, runId: string, state: RunState | null): void {
  if (state === 'waiting') wake.runReady(runId)
  if (state === 'running') wake.command(runId)
  if (state !== null) wake.events(runId)
}
