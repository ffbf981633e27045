import { sql } from 'kysely'
import type { BackgroundService, Runtime } from '../../context.ts'
import type { RunState } from '../../db/tables/runs.table.ts'
import { nudged, wakeNudged } from './nudge.ts'
import { answered } from './steadily.ts'

const batch = 200

/**
 * Tells parents that a child has ended. A trigger notes every end in the commit that brings it about, whoever writes it;
 * the note goes in the commit that nudges the parent. Returns how many it told.
 */
export async function tellParents(
  { db, wake }: Pick<Runtime, 'db' | 'wake'>,
  which: { child: string } | { limit: number },
): Promise<number> {
  const ids =
    'child' in which
      ? [which.child]
      : (await db.selectFrom('child_ends').select('run_id').orderBy('ended_at').limit(which.limit).execute()).map(
          ({ run_id }) => run_id,
        )
  let told = 0
  for (const id of ids) {
    // One parent a statement: it waits for one row's lock, and holds none that others wait for in another order.
    const { rows } = await sql<{ parent_run_id: string; state: RunState | null }>`
      with gone as (delete from child_ends where run_id = ${id} returning parent_run_id)
      select parent_run_id, ${nudged(sql.ref('parent_run_id'))} as state from gone`.execute(db)
    for (const { parent_run_id, state } of rows) {
      told++
      wakeNudged(wake, parent_run_id, state)
    }
  }
  return told
}

/** Ends that were written while nobody advanced the child, or by a worker that died right behind its last checkpoint. */
export const childEndsService: BackgroundService = {
  name: 'child-ends',
  periodMs: 1_000,
  async tick(runtime) {
    const done = await answered(tellParents(runtime, { limit: batch }))
    return { done, more: done === batch }
  },
}
