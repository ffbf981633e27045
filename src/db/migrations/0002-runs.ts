import type { Migration } from './migration.ts'

export const runs: Migration = {
  name: '0002-runs',
  statements: [
    // A free tenth of each page keeps lease renewals and checkpoints on their page (HOT): no index names a column they change.
    `create table runs (
      id uuid primary key,
      workspace_id uuid not null references workspaces on delete cascade,
      recipe_id uuid references workflow_recipes on delete set null,
      recipe_version integer,
      definition jsonb,
      state text not null check (state in
        ('queued', 'blocked', 'running', 'waiting', 'paused', 'succeeded', 'failed', 'canceled', 'timed_out')),
      trigger jsonb not null,
      schedule_id uuid,
      slot_at timestamptz(3),
      state_key text,
      idempotency_key text,
      request_hash text,
      input jsonb not null,
      output jsonb,
      error jsonb,
      rev integer not null default 0,
      checkpoint_id uuid,
      last_seq integer not null default 0,
      generation integer not null default 1,
      engine_version integer not null default 1,
      fence integer not null default 0,
      lease_owner text,
      lease_until timestamptz(3),
      pending_commands integer not null default 0,
      recoveries integer not null default 0,
      priority integer not null default 0,
      usage jsonb not null default '{}',
      created_by text,
      created_at timestamptz(3) not null default app_now(),
      started_at timestamptz(3),
      finished_at timestamptz(3),
      timeout_ms double precision,
      deadline_at timestamptz(3)
    ) with (fillfactor = 80)`,
    `create index runs_by_workspace on runs (workspace_id, created_at, id)`,
    `create index runs_by_recipe on runs (recipe_id, created_at, id)`,
    // Small: only what is leased now. The recovery tick reads it; the lease itself is in no index.
    `create index runs_leased on runs (id) where state = 'running'`,
    `create index runs_open_by_schedule on runs (schedule_id, created_at)
      where schedule_id is not null and state not in ('succeeded', 'failed', 'canceled', 'timed_out')`,
    // previous: the last succeeded run of a recipe with the same state key.
    `create index runs_previous on runs (recipe_id, state_key, finished_at desc) where state = 'succeeded'`,
    `create unique index runs_idempotency on runs (workspace_id, idempotency_key) where idempotency_key is not null`,
    // The second wall behind the slot ledger: one run a slot.
    `create unique index runs_slot on runs (schedule_id, slot_at) where schedule_id is not null and slot_at is not null`,

    `create table run_queue (
      run_id uuid primary key references runs on delete cascade,
      workspace_id uuid not null,
      priority integer not null default 0,
      ready_at timestamptz(3) not null default app_now()
    )`,
    `create index run_queue_ready on run_queue (workspace_id, priority desc, ready_at, run_id)`,

    `create table waits (
      run_id uuid not null references runs on delete cascade,
      path text not null,
      workspace_id uuid not null,
      wake_at timestamptz(3),
      primary key (run_id, path)
    )`,
    `create index waits_due on waits (wake_at) where wake_at is not null`,

    // Paths and keys are compared byte by byte, so a range of them is a subtree whatever the database's locale.
    `create table run_steps (
      run_id uuid not null references runs on delete cascade,
      path text collate "C" not null,
      parent text not null,
      ordinal integer not null,
      step_id text not null,
      kind text not null,
      status text not null check (status in ('pending', 'running', 'waiting', 'succeeded', 'failed', 'skipped', 'canceled')),
      attempts integer not null default 0,
      output jsonb,
      error jsonb,
      state jsonb,
      wake_at timestamptz(3),
      started_at timestamptz(3),
      finished_at timestamptz(3),
      primary key (run_id, path)
    ) with (fillfactor = 90)`,
    `create table run_calls (
      run_id uuid not null references runs on delete cascade,
      key text collate "C" not null,
      kind text not null check (kind in ('model', 'tool', 'http')),
      request_hash text,
      result jsonb,
      created_at timestamptz(3) not null default app_now(),
      primary key (run_id, key)
    )`,
    `create table run_events (
      run_id uuid not null references runs on delete cascade,
      seq integer not null,
      type text not null,
      data jsonb not null,
      created_at timestamptz(3) not null default app_now(),
      primary key (run_id, seq)
    )`,
    `create table run_inbox (
      id uuid primary key,
      run_id uuid not null references runs on delete cascade,
      kind text not null,
      payload jsonb not null default '{}',
      created_at timestamptz(3) not null default app_now(),
      applied_at timestamptz(3)
    )`,
    `create index run_inbox_open on run_inbox (run_id, created_at) where applied_at is null`,
  ],
}
