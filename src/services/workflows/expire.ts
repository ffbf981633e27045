import { sql, type Transaction } from 'kysely'
import type { Runtime, TickReport } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { countedDelete } from '../retention/figures.ts'
import { foundBy, lookForDue, type Conditional, type Due } from '../retention/looks.ts'

/** One that was taken up again by hand has a run that is younger than its end. */
const old: Conditional = {
  table: 'workflows',
  time: 'finished_at',
  field: 'workflows_days',
  goes: sql`not exists (select from workflow_runs n join runs r on r.id = n.run_id where n.workflow_id = x.id)`,
  most: 100,
}

/**
 * Deletes workflows that ended long enough ago, each with its plans and its budget. Their recipes leave the lists as they do
 * where somebody deletes a workflow, and their rows follow with `expireDeleted`.
 */
export async function expireWorkflows({ db, config }: Pick<Runtime, 'db' | 'config'>): Promise<TickReport> {
  const due = await lookForDue(db, config, old)
  if (due.length === 0) return { done: 0, more: false }
  const done = await db.transaction().execute(async (tx) => {
    const ids = await lockWithRecipes(tx, due)
    if (ids.length === 0) return 0
    // A statement of its own: it sees what was put on a recipe before that was locked.
    return countedDelete(tx, 'workflows', {
      deleting: sql`
        delete from workflows x where x.id = any(${`{${ids.join(',')}}`}::text::uuid[]) and ${old.goes}
        returning x.id, x.workspace_id, x.recipe_id`,
      after: sql`, ${namedByOthers}, retired as (
        update workflow_recipes w set deleted_at = app_now() from deleted d
        where w.id = d.recipe_id and w.deleted_at is null and not (${livesOn})
      )`,
    })
  })
  return { done, more: done > 0 }
}

/**
 * Workflows that are over, held with their recipes. One whose recipe somebody holds, because a schedule, a webhook or a run
 * of it is just being added, is left to a later pass.
 */
async function lockWithRecipes(tx: Transaction<Database>, due: readonly Due[]): Promise<string[]> {
  const found = await sql<{ id: string; recipe_id: string | null }>`
    ${foundBy(old, due, sql`x.id, x.recipe_id`, { locked: true })}`.execute(tx)
  const recipes = found.rows.flatMap(({ recipe_id }) => recipe_id ?? [])
  const locked = await sql<{ id: string }>`
    select id from workflow_recipes where id = any(${`{${recipes.join(',')}}`}::text::uuid[])
    order by id for update skip locked`.execute(tx)
  const held = new Set(locked.rows.map(({ id }) => id))
  return found.rows.flatMap(({ id, recipe_id }) => (recipe_id === null || held.has(recipe_id) ? [id] : []))
}

/** Slugs and ids of recipes that others start, in the workspaces of what goes. What the planner has written starts none. */
const namedByOthers = sql`named as materialized (
  select distinct o.workspace_id, m.found[1] as name
  from workflow_recipes o
  join recipe_versions v on v.recipe_id = o.id and v.version = o.version
  cross join lateral regexp_matches(v.definition::text, '"recipe": "([^"]+)"', 'g') as m(found)
  where o.deleted_at is null and o.workspace_id in (select workspace_id from deleted where recipe_id is not null)
    and not exists (select from workflow_plans p
      where p.recipe_id = v.recipe_id and p.recipe_version = v.version and p.source in ('planner', 'replan'))
)`

/** Somebody has made the recipe `w` of the workflow `d` their own: it starts by itself, was run or edited apart, is started by others. */
const livesOn = sql`
  exists (select from schedules s where s.recipe_id = w.id)
  or exists (select from webhooks h where h.recipe_id = w.id)
  or exists (select from webhook_subscriptions s where s.recipe_id = w.id)
  or exists (select from runs r where r.recipe_id = w.id)
  or exists (select from budgets b where b.workspace_id = w.workspace_id and b.scope_id = w.id)
  or exists (select from recipe_versions v where v.recipe_id = w.id and not exists (
    select from workflow_plans p
    where p.recipe_id = v.recipe_id and p.recipe_version = v.version and p.workflow_id = d.id))
  or exists (select from named n where n.workspace_id = w.workspace_id and n.name in (w.slug, w.id::text))`
