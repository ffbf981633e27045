import { sql, type Transaction } from 'kysely'
import type { Database } from '../../../db/database.ts'
import { toJsonText } from '../../../db/json.ts'

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
    // Locked first: what a statement then sees of them is what they are. Their owners wait for no slot, but what ends them
    // gives one back.
    const running = await tx
      .selectFrom('runs')
      .select('id')
      .where('state', '=', 'running')
      .where('workspace_id', '=', workspaceId)
      .orderBy('id')
      .forUpdate()
      .execute()
    const ids = toJsonText(running.map(({ id }) => id))
    await sql`
      with running as (
        select value::uuid as run_id from jsonb_array_elements_text(${ids}::text::jsonb)
      ), counted as (
        insert into run_slots (run_id, counter, workspace_id, scope, size, state)
        select run_id, ${workspaceId}::uuid, ${workspaceId}::uuid, 'workspace', ${runs}::integer, 'held' from running
        on conflict do nothing
      )
      update runs set slotted = true where id = any(array(select run_id from running)) and not slotted`.execute(tx)
  }
  await tx.insertInto('freed_slots').values({ counter: workspaceId }).execute()
}
