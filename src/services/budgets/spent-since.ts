import { sql, type Kysely, type RawBuilder } from 'kysely'
import type { Database } from '../../db/database.ts'
import type { ScopeType } from './scope.ts'
import type { Window } from './window.ts'

/** What the stored usage of a window tells. A budget without end counts from when it was made. */
export async function spentSince(
  db: Kysely<Database>,
  scope: { workspaceId: string; type: ScopeType; id: string },
  { start, end }: Window,
): Promise<{ spent: string; calls: number; unpriced: number }> {
  if (end === null) return { spent: '0', calls: 0, unpriced: 0 }
  const { rows } = await sql<{ spent: string; calls: number; unpriced: number }>`
    select trim_scale(coalesce(sum(cost_usd), 0))::text as spent, count(*)::integer as calls,
      (count(*) filter (where cost_usd is null))::integer as unpriced
    from model_usage
    where workspace_id = ${scope.workspaceId}::text::uuid and created_at >= ${start.toISOString()}::text::timestamptz
      and ${of[scope.type](scope.id)}`.execute(db)
  return rows[0]!
}

const of: { [type in ScopeType]: (id: string) => RawBuilder<unknown> } = {
  workspace: () => sql`true`,
  key: (id) => sql`key_id = ${id}::text::uuid`,
  agent: (id) => sql`agent_id = ${id}::text::uuid`,
  // With the runs that those of the recipe have started.
  recipe: (id) => sql`run_id in (
    with recursive down as (
      select id, 0 as level from runs where recipe_id = ${id}::text::uuid
      union all
      select r.id, down.level + 1 from down join runs r on r.parent_run_id = down.id where down.level < 20
    ) select id from down)`,
}
