import type { Runtime } from '../../context.ts'
import { writeRunSpan } from './run-trace.ts'

/**
 * Counts runs that were canceled while no worker held them, and writes their spans: nobody else will. Call it after the
 * commit; it never fails.
 */
export async function tellCanceled(
  { db, log, measures, tracing }: Pick<Runtime, 'db' | 'log' | 'measures' | 'tracing'>,
  runIds: readonly string[],
): Promise<void> {
  if (runIds.length === 0) return
  measures?.runsFinished.add(runIds.length, 'canceled')
  if (!tracing) return
  try {
    const rows = await db
      .selectFrom('runs as r')
      .leftJoin('workflow_recipes as w', 'w.id', 'r.recipe_id')
      .select(['r.id', 'r.workspace_id', 'r.recipe_id', 'r.recipe_version', 'r.trigger', 'r.schedule_id'])
      .select(['r.trace_context', 'r.created_at', 'r.definition', 'w.name'])
      .where('r.id', 'in', [...runIds])
      .execute()
    for (const { created_at, definition, name, ...run } of rows) {
      const recipeName = String(name ?? definition?.['name'] ?? 'unknown')
      writeRunSpan(tracing, { ...run, started_at: created_at }, recipeName, 'canceled', null)
    }
  } catch (error) {
    log.warn('The trace of canceled runs could not be completed.', { error })
  }
}
