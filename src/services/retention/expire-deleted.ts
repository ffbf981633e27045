import { sql, type RawBuilder } from 'kysely'
import type { Runtime, TickReport } from '../../context.ts'
import { scopedTo } from '../../db/scope.ts'
import { foundBy, lookForDue, type Conditional } from './looks.ts'

const most = 100

/** Executions are counted from their end, so what they were made of stays for as long behind its own. */
const deleted = (table: string, goes: RawBuilder<unknown>): Conditional => ({
  table,
  time: 'deleted_at',
  field: 'executions_days',
  goes,
  most,
})

/** Its versions are what runs and plans show; the others would go with it, or show the id of nothing. */
const recipes = deleted(
  'workflow_recipes',
  sql`not exists (select from runs r where r.recipe_id = x.id)
    and not exists (select from workflow_plans l where l.recipe_id = x.id)
    and not exists (select from workflows f where f.recipe_id = x.id)
    and not exists (select from replays c where c.recipe_id = x.id)
    and not exists (select from schedules s where s.recipe_id = x.id)
    and not exists (select from webhooks h where h.recipe_id = x.id)
    and not exists (select from webhook_subscriptions s where s.recipe_id = x.id)
    and not exists (select from budgets b where b.workspace_id = x.workspace_id and b.scope_id = x.id)`,
)
/** Steps keep the agent that they began with. */
const agents = deleted(
  'agents',
  sql`not exists (select from budgets b where b.workspace_id = x.workspace_id and b.scope_id = x.id)`,
)

/**
 * Deletes the rows of recipes and agents that somebody has deleted, once nothing that is left names them. Looks at `looked` of
 * a workspace at most.
 */
export async function expireDeleted(runtime: Pick<Runtime, 'db' | 'config'>, looked?: number): Promise<TickReport> {
  const done = (await expire(runtime, recipes, looked)) + (await expire(runtime, agents, looked))
  return { done, more: done > 0 }
}

/** As the workspace itself, for the engine has no say over what people write. */
async function expire(
  { db, config }: Pick<Runtime, 'db' | 'config'>,
  what: Conditional,
  looked: number | undefined,
): Promise<number> {
  let done = 0
  for (const each of await lookForDue(db, config, what, looked)) {
    const { numAffectedRows } = await sql`
      delete from ${sql.table(what.table)}
      where id in (${foundBy(what, [each], sql`x.id`, { locked: true })})`.execute(scopedTo(db, each.id))
    done += Number(numAffectedRows ?? 0)
  }
  return done
}
