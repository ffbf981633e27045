import { sql, type Transaction } from 'kysely'
import type { Database } from '../../db/database.ts'

/** Notes a run as the next of its workflow. Call it in the transaction that makes the run, under the workflow's row lock. */
export async function noteRun(tx: Transaction<Database>, workflowId: string, runId: string): Promise<void> {
  await sql`
    insert into workflow_runs (workflow_id, number, run_id)
    select ${workflowId}::text::uuid, coalesce(max(number), 0) + 1, ${runId}::text::uuid
    from workflow_runs where workflow_id = ${workflowId}`.execute(tx)
}
