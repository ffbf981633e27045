import type { Migration } from './migration.ts'

export const workflows: Migration = {
  name: '0012-workflows',
  statements: [
    // `run_id` is the run that the workflow waits for: of the planner while it is planned, of the plan while it runs.
    `create table workflows (
      id uuid primary key,
      workspace_id uuid not null references workspaces on delete cascade,
      name text not null,
      goal text not null,
      context jsonb,
      agents jsonb,
      tools jsonb,
      model jsonb,
      approval text not null check (approval in ('auto', 'required')),
      budget_usd numeric check (budget_usd > 0),
      state text not null check (state in
        ('planning', 'awaiting_approval', 'running', 'succeeded', 'failed', 'canceled')),
      error jsonb,
      recipe_id uuid references workflow_recipes on delete set null,
      plan integer not null default 0,
      replans integer not null default 0,
      planning_attempts integer not null default 0,
      run_id uuid,
      stopping jsonb,
      cost_usd numeric not null default 0,
      cost_unknown boolean not null default false,
      version integer not null default 1,
      look_failures integer not null default 0,
      look_after timestamptz(3),
      created_by text not null,
      approved_by text,
      created_at timestamptz(3) not null default app_now(),
      updated_at timestamptz(3) not null default app_now(),
      planned_at timestamptz(3),
      approved_at timestamptz(3),
      finished_at timestamptz(3)
    )`,
    `create index workflows_by_workspace on workflows (workspace_id, created_at, id)`,
    // Only what a run is awaited for: all that the tick looks at.
    `create index workflows_awaiting on workflows (id) where state in ('planning', 'running')`,

    // Immutable but for the run that carries the plan out.
    `create table workflow_plans (
      workflow_id uuid not null references workflows on delete cascade,
      number integer not null,
      workspace_id uuid not null,
      source text not null check (source in ('planner', 'edit', 'replan', 'copy')),
      recipe_id uuid not null,
      recipe_version integer not null,
      assignments jsonb not null,
      attention jsonb not null,
      failed jsonb,
      results jsonb,
      planning_run_id uuid,
      run_id uuid,
      created_by text not null,
      created_at timestamptz(3) not null default app_now(),
      primary key (workflow_id, number)
    )`,

    // Mostly empty: who claims runs asks whether the workspace has a row here.
    `create table workspace_pauses (
      workspace_id uuid primary key references workspaces on delete cascade,
      reason text,
      paused_by text not null,
      paused_at timestamptz(3) not null default app_now()
    )`,
  ],
}
