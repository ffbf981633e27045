import type { Migration } from './migration.ts'

export const scheduleOperations: Migration = {
  name: '0009-schedule-operations',
  statements: [
    `alter table schedules add column alerts jsonb, add column overdue_at timestamptz(3)`,

    // The ledger of a whole workspace, newest first. What was missed or late is looked for among far more that was not.
    `create index schedule_slots_by_workspace on schedule_slots (workspace_id, slot_at, schedule_id)`,
    `create index schedule_slots_troubled on schedule_slots (workspace_id, slot_at, schedule_id)
      where status = 'missed' or late`,
    `create index schedule_slots_ranges on schedule_slots (workspace_id, slot_to) where slot_to is not null`,

    // Runs whose cost says nothing about a real model's.
    `create index model_usage_simulated on model_usage (run_id) where simulated`,

    // No reference to the schedule: what was told of it stays when it is deleted.
    `create table schedule_events (
      id uuid primary key,
      workspace_id uuid not null references workspaces on delete cascade,
      schedule_id uuid not null,
      type text not null,
      data jsonb not null,
      delivery text not null default 'none' check (delivery in ('none', 'pending', 'delivered', 'failed')),
      attempts integer not null default 0,
      next_attempt_at timestamptz(3),
      last_status integer,
      last_error text,
      delivered_at timestamptz(3),
      created_at timestamptz(3) not null default app_now()
    )`,
    `create index schedule_events_by_workspace on schedule_events (workspace_id, created_at, id)`,
    `create index schedule_events_by_schedule on schedule_events (schedule_id, created_at, id)`,
    `create index schedule_events_due on schedule_events (next_attempt_at) where delivery = 'pending'`,

    `create table schedule_pings (
      schedule_id uuid primary key references schedules on delete cascade,
      workspace_id uuid not null,
      token_hash text not null unique,
      period_s integer not null check (period_s > 0),
      grace_s integer not null check (grace_s >= 0),
      last_ping_at timestamptz(3),
      due_at timestamptz(3),
      created_at timestamptz(3) not null default app_now(),
      updated_at timestamptz(3) not null default app_now()
    )`,
    `create index schedule_pings_due on schedule_pings (due_at) where due_at is not null`,

    `create table schedule_backfills (
      id uuid primary key,
      workspace_id uuid not null,
      schedule_id uuid not null references schedules on delete cascade,
      state text not null check (state in ('running', 'canceling', 'finished', 'canceled', 'failed')),
      from_at timestamptz(3) not null,
      to_at timestamptz(3) not null,
      concurrency integer not null check (concurrency > 0),
      slots integer not null,
      cursor_at timestamptz(3) not null,
      fired integer not null default 0,
      passed_over integer not null default 0,
      succeeded integer not null default 0,
      failed integer not null default 0,
      canceled integer not null default 0,
      fault text,
      created_by text,
      created_at timestamptz(3) not null default app_now(),
      checked_at timestamptz(3) not null default app_now(),
      finished_at timestamptz(3)
    )`,
    // One at a time for a schedule: two would take turns at the same slots.
    `create unique index schedule_backfills_open on schedule_backfills (schedule_id)
      where state in ('running', 'canceling')`,
    `create index schedule_backfills_due on schedule_backfills (checked_at) where state in ('running', 'canceling')`,
    `create index schedule_backfills_by_schedule on schedule_backfills (schedule_id, created_at, id)`,
    // The runs under way alone: one that has ended is counted and leaves.
    `create table schedule_backfill_runs (
      backfill_id uuid not null references schedule_backfills on delete cascade,
      run_id uuid not null,
      slot_at timestamptz(3) not null,
      primary key (backfill_id, run_id)
    )`,
  ],
}
