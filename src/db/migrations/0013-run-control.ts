import type { Migration } from './migration.ts'

/**
 * Which run started a run, and which it repeats. Links, not foreign keys: a run may outlive what it points to, and the
 * deletion of old runs has no look-up to pay for them. Comparisons by replay are jobs of their own, apart from runs.
 */
export const runControl: Migration = {
  name: '0013-run-control',
  statements: [
    `alter table runs
      add column parent_run_id uuid,
      add column replay_of uuid,
      add column replayed_from text`,
    `create index runs_by_parent on runs (parent_run_id) where parent_run_id is not null`,
    // Small: children that have not ended. The recovery tick looks among them for those whose parent has.
    `create index runs_open_children on runs (id)
      where parent_run_id is not null and state not in ('succeeded', 'failed', 'canceled', 'timed_out')`,
    `create index runs_by_replay on runs (replay_of) where replay_of is not null`,

    `create table replays (
      id uuid primary key,
      workspace_id uuid not null references workspaces on delete cascade,
      recipe_id uuid not null references workflow_recipes on delete cascade,
      recipe_version integer not null,
      model jsonb,
      call_models boolean not null,
      state text not null default 'queued' check (state in ('queued', 'running', 'finished', 'canceled')),
      total integer not null,
      idempotency_key text,
      request_hash text not null,
      created_by text,
      created_at timestamptz(3) not null default app_now(),
      finished_at timestamptz(3)
    )`,
    `create index replays_by_workspace on replays (workspace_id, created_at, id)`,
    `create index replays_open on replays (id) where state in ('queued', 'running')`,
    `create unique index replays_idempotency on replays (workspace_id, idempotency_key) where idempotency_key is not null`,
    `create table replay_runs (
      replay_id uuid not null references replays on delete cascade,
      run_id uuid not null,
      workspace_id uuid not null,
      ordinal integer not null,
      state text not null default 'pending' check (state in ('pending', 'compared', 'failed')),
      attempts integer not null default 0,
      lease_until timestamptz(3),
      verdict text check (verdict in ('same', 'different', 'unknown')),
      report jsonb,
      error jsonb,
      finished_at timestamptz(3),
      primary key (replay_id, ordinal)
    )`,
    `create index replay_runs_pending on replay_runs (replay_id, ordinal) where state = 'pending'`,
  ],
}
