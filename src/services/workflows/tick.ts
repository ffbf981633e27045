import { sql } from 'kysely'
import type { BackgroundService, Runtime, TickReport } from '../../context.ts'
import { jsonb } from '../../db/json.ts'
import { scopedTo } from '../../db/scope.ts'
import { DatabaseAway } from '../../lib/database-away.ts'
import { advanceWorkflow, nothingMoved, tellMoved } from './advance.ts'

const batch = 50
const maxFailures = 5

/**
 * Takes workflows further whose run has ended. Any number of processes may tick at once: each
 * workflow is advanced under its own row lock, in a transaction of its own. A workspace that is paused rests.
 */
export async function workflowsTick(runtime: Runtime): Promise<TickReport> {
  const { rows } = await sql<{ id: string; workspace_id: string }>`
    select w.id, w.workspace_id from workflows w left join runs r on r.id = w.run_id
    where w.state in ('planning', 'running') and (w.look_after is null or w.look_after <= app_now())
      and not exists (select from workspace_pauses p where p.workspace_id = w.workspace_id)
      and (r.id is null or r.state in ('succeeded', 'failed', 'canceled', 'timed_out'))
    order by w.id limit ${batch}`.execute(runtime.db)
  for (const { id, workspace_id } of rows) await advanceOne(runtime, id, workspace_id)
  return { done: rows.length, more: rows.length === batch }
}

async function advanceOne(runtime: Runtime, id: string, workspaceId: string): Promise<void> {
  const moved = nothingMoved()
  try {
    const db = scopedTo(runtime.db, workspaceId)
    await db.transaction().execute((tx) => advanceWorkflow(tx, id, moved))
  } catch (error) {
    if (error instanceof DatabaseAway) throw error
    runtime.log.error('A workflow could not be advanced.', { workflow_id: id, error })
    return postpone(runtime, id)
  }
  await tellMoved(runtime, moved)
}

/** One workflow that cannot be advanced holds up no other, and does not hang for ever. */
async function postpone({ db }: Runtime, id: string): Promise<void> {
  const internal = jsonb({ kind: 'internal', detail: 'The workflow could not be advanced.' })
  await sql`
    update workflows set look_failures = look_failures + 1,
      look_after = app_now() + interval '10 seconds' * (look_failures + 1),
      state = case when look_failures + 1 >= ${maxFailures}::integer then 'failed' else state end,
      error = case when look_failures + 1 >= ${maxFailures}::integer then ${internal} else error end,
      finished_at = case when look_failures + 1 >= ${maxFailures}::integer then app_now() end,
      version = version + 1, updated_at = app_now()
    where id = ${id} and state in ('planning', 'running')`.execute(db)
}

export const workflowsService: BackgroundService = {
  name: 'workflows',
  periodMs: 1_000,
  tick: workflowsTick,
}
