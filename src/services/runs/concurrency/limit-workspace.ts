import { sql, type Transaction } from 'kysely'
import type { Database } from '../../../db/database.ts'

/**
 * How many runs of a workspace may run at a time; null: as many as there are workers for. What runs already goes on and
 * counts. Whoever waits for a slot is looked at again with the next tick.
 */
export async function limitWorkspace(
  tx: Transaction<Database>,
  workspaceId: string,
  runs: number | null,
): Promise<void> {
  if (runs === null) await tx.deleteFrom('workspace_limits').where('workspace_id', '=', workspaceId).execute()
  else {
    await tx
      .insertInto('workspace_limits')
      .values({ workspace_id: workspaceId, runs })
      .onConflict((conflict) => conflict.column('workspace_id').doUpdateSet({ runs }))
      .execute()
    // Their owners wait for no slot, but what ends them gives one back.
    await sql`
      with running as (
        select id, workspace_id from runs where state = 'running' and workspace_id = ${workspaceId}
        order by id for update
      ), counted as (
        insert into run_slots (run_id, counter, workspace_id, scope, size, state)
        select id, workspace_id, workspace_id, 'workspace', ${runs}::integer, 'held' from running
        on conflict do nothing
      )
      update runs set slotted = true where id in (select id from running) and not slotted`.execute(tx)
  }
  await tx.insertInto('freed_slots').values({ counter: workspaceId }).execute()
}
