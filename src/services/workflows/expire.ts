import { sql } from 'kysely'
import type { Runtime, TickReport } from '../../context.ts'
import { countedDelete } from '../retention/figures.ts'
import { dueWorkspaces, sharesOf, type Overdue } from '../retention/overdue.ts'

/** One that was taken up again by hand has a run that is younger than its end. */
const old: Overdue = {
  table: 'workflows',
  time: 'finished_at',
  field: 'workflows_days',
  and: sql`not exists (select from workflow_runs n join runs r on r.id = n.run_id where n.workflow_id = x.id)`,
  most: 100,
}

/**
 * Deletes workflows that ended long enough ago, each with its plans and its budget. Their recipes leave the lists as they do
 * where somebody deletes a workflow, and their rows follow with `expireRecipes`.
 */
export async function expireWorkflows({ db, config }: Pick<Runtime, 'db' | 'config'>): Promise<TickReport> {
  const done = await countedDelete(db, 'workflows', {
    before: sql`${dueWorkspaces(old, config)},
      candidates as materialized (${sharesOf(old, sql`x.id`, { locked: true })}),`,
    deleting: sql`
      delete from workflows where id in (select id from candidates) returning id, workspace_id, recipe_id`,
    after: sql`, ${namedByOthers}, retired as (
      update workflow_recipes w set deleted_at = app_now() from deleted d
      where w.id = d.recipe_id and w.deleted_at is null and not (${livesOn})
    )`,
  })
  return { done, more: done > 0 }
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
