import type { Migration } from './migration.ts'

/**
 * Bounds of spending, each with what is spent and reserved in its window, and the reservations of calls that are under way.
 * The levels are the order in which rows are locked: 0 workspace, 1 key, 2 agent, 3 recipe, 4 workflow, 5 run. The last two
 * come with what they bound, and are made when it first asks a model.
 */
export const budgets: Migration = {
  name: '0025-budgets',
  statements: [
    // Room on each page, and no index on what changes with each call: the counters are rewritten in place.
    `create table budgets (
      id uuid primary key,
      workspace_id uuid not null references workspaces on delete cascade,
      level smallint not null check (level between 0 and 5),
      scope_id uuid not null,
      limit_usd numeric check (limit_usd > 0),
      period text not null check (period in ('day', 'week', 'month', 'total')),
      zone text not null default 'UTC',
      thresholds jsonb not null default '[]',
      unknown_price text not null default 'refuse' check (unknown_price in ('refuse', 'allow')),
      window_start timestamptz(3) not null,
      window_end timestamptz(3),
      spent numeric not null default 0,
      reserved numeric not null default 0,
      calls integer not null default 0,
      unpriced integer not null default 0,
      version integer not null default 1,
      created_at timestamptz(3) not null default app_now(),
      updated_at timestamptz(3) not null default app_now()
    ) with (fillfactor = 50)`,
    `create unique index budgets_by_scope on budgets (workspace_id, scope_id, period)`,
    `create index budgets_listed on budgets (workspace_id, created_at, id) where level < 4`,

    // A row lives as long as its call; of a call that never told its end it stays for a while, for it may yet tell its cost.
    `create table budget_reservations (
      call_key text not null,
      attempt integer not null,
      workspace_id uuid not null references workspaces on delete cascade,
      amount numeric not null,
      budgets uuid[] not null,
      windows timestamptz[] not null,
      state text not null default 'open' check (state in ('open', 'lapsed')),
      expires_at timestamptz(3) not null,
      primary key (call_key, attempt)
    )`,
    `create index budget_reservations_due on budget_reservations (expires_at)`,

    // Its key is what makes each of them be told once.
    `create table budget_alerts (
      budget_id uuid not null references budgets on delete cascade,
      window_start timestamptz(3) not null,
      threshold integer not null,
      type text not null check (type in ('budget.threshold_reached', 'budget.exceeded')),
      workspace_id uuid not null,
      spent_usd numeric not null,
      limit_usd numeric not null,
      told_at timestamptz(3),
      created_at timestamptz(3) not null default app_now(),
      primary key (budget_id, window_start, type, threshold)
    )`,
    `create index budget_alerts_untold on budget_alerts (created_at) where told_at is null`,

    `create function delete_budgets_of_gone() returns trigger language plpgsql as $$
      begin
        delete from budgets b using gone g
          where b.workspace_id = g.workspace_id and b.scope_id = g.id and b.level >= 4;
        return null;
      end
    $$`,
    // A budget that is set anew begins with all that was spent without one.
    `create function delete_budget_of_unbounded() returns trigger language plpgsql as $$
      begin
        delete from budgets where workspace_id = new.workspace_id and scope_id = new.id and level = 4;
        return null;
      end
    $$`,
    `create trigger workflows_unbounded after update of budget_usd on workflows
      for each row when (old.budget_usd is not null and new.budget_usd is null)
      execute function delete_budget_of_unbounded()`,
    `create trigger runs_delete_budgets after delete on runs referencing old table as gone
      for each statement execute function delete_budgets_of_gone()`,
    `create trigger workflows_delete_budgets after delete on workflows referencing old table as gone
      for each statement execute function delete_budgets_of_gone()`,
  ],
}
