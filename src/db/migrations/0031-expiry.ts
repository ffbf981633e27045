import { roles } from '../scope.ts'
import type { Migration } from './migration.ts'

/** Days for model calls, comparisons and workflows, and ways to what is over: by its end, and by the recipe that it names. */
export const expiry: Migration = {
  name: '0031-expiry',
  locks: [
    'agents',
    'workflow_recipes',
    'webhooks',
    'webhook_subscriptions',
    'workflows',
    'workflow_plans',
    'replays',
    'schedule_backfills',
    'budget_alerts',
    'retention_policies',
    'retention_figures',
  ],
  statements: [
    `alter table retention_policies
      add column model_usage_days integer check (model_usage_days >= 0),
      add column replays_days integer check (replays_days >= 0),
      add column workflows_days integer check (workflows_days >= 0)`,
    `alter table retention_figures drop constraint retention_figures_kind_check`,
    `alter table retention_figures add constraint retention_figures_kind_check
      check (kind in ('executions', 'schedule_slots', 'webhook_logs', 'model_usage', 'replays', 'workflows'))`,

    // What is open is in none of them, however long it has been.
    `create index workflows_ended on workflows (workspace_id, finished_at, id) where finished_at is not null`,
    `create index replays_ended on replays (workspace_id, finished_at, id) where finished_at is not null`,
    `create index schedule_backfills_ended on schedule_backfills (workspace_id, finished_at, id)
      where finished_at is not null`,
    `create index workflow_recipes_deleted on workflow_recipes (workspace_id, deleted_at, id) where deleted_at is not null`,
    `create index agents_deleted on agents (workspace_id, deleted_at, id) where deleted_at is not null`,
    `create index budget_alerts_told on budget_alerts (window_start) where told_at is not null`,

    // Whether anything still names a recipe is asked before it goes, and by its deletion.
    `create index webhooks_by_recipe on webhooks (recipe_id)`,
    `create index webhook_subscriptions_by_recipe on webhook_subscriptions (recipe_id) where recipe_id is not null`,
    `create index replays_by_recipe on replays (recipe_id)`,
    `create index workflows_by_recipe on workflows (recipe_id) where recipe_id is not null`,
    `create index workflow_plans_by_recipe on workflow_plans (recipe_id, recipe_version)`,

    `grant delete on model_usage to ${roles.engine}`,
  ],
}
