import { sql } from 'kysely'
import { DatabaseAway } from '../../lib/database-away.ts'
import type { Flow } from './flow.ts'
import { steadily } from './steadily.ts'

/** Between two tries of what finds the database away again although it answers: a standby, a full disk. */
const pauseMs = 500
const mostTries = 20

/**
 * An attempt that could not read its agent or its credentials because the database was away has not failed: it begins again
 * once the database answers, for as long as the run's lease holds. What it recorded before is not done again.
 */
export async function throughOutages<T>(flow: Flow, attempt: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await attempt()
    } catch (error) {
      if (!isAway(error) || tries === mostTries) throw error
      flow.log('warn', 'The database was away; the step begins again.', {})
    }
    await new Promise((resolve) => setTimeout(resolve, pauseMs))
    await steadily(flow.writer, flow.runtime.clock, () => sql`select 1`.execute(flow.runtime.db))
  }
}

const isAway = (error: unknown): boolean =>
  error instanceof DatabaseAway || (error instanceof Error && error.cause instanceof DatabaseAway)
