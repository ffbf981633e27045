import type { Migration } from './migration.ts'

/**
 * Files, and what is left to do when rows with bytes elsewhere are deleted: the deletion itself notes the keys, in its own
 * transaction, and the bytes follow. Whatever is put somewhere is noted before it is put.
 */
export const files: Migration = {
  name: '0011-files',
  statements: [
    `create table files (
      id uuid primary key,
      workspace_id uuid not null references workspaces on delete cascade,
      run_id uuid,
      name text not null,
      media_type text not null,
      size integer not null check (size >= 0),
      sha256 text not null,
      source text not null check (source in ('upload', 'step', 'webhook')),
      stored boolean not null default false,
      idempotency_key text,
      request_hash text,
      created_by text,
      created_at timestamptz(3) not null default app_now(),
      expires_at timestamptz(3)
    )`,
    `create index files_by_workspace on files (workspace_id, created_at, id)`,
    `create index files_by_run on files (run_id) where run_id is not null`,
    `create index files_expiring on files (expires_at) where expires_at is not null`,
    `create index files_unstored on files (created_at) where not stored`,
    `create unique index files_idempotency on files (workspace_id, idempotency_key) where idempotency_key is not null`,
    `create index files_idempotency_age on files (created_at) where idempotency_key is not null`,

    // Large values of runs. No reference to runs: a value may be put before the run that it is for is written.
    `create table run_blobs (
      key text primary key,
      run_id uuid not null,
      settled boolean not null default false,
      created_at timestamptz(3) not null default app_now()
    )`,
    `create index run_blobs_by_run on run_blobs (run_id)`,
    `create index run_blobs_unsettled on run_blobs (created_at) where not settled`,

    `create table doomed_blobs (
      key text primary key,
      due_at timestamptz(3) not null default app_now()
    )`,
    `create index doomed_blobs_due on doomed_blobs (due_at)`,
    `create function doom_files() returns trigger language plpgsql as $$
      begin
        insert into doomed_blobs (key) select 'files/' || workspace_id || '/' || id from gone on conflict do nothing;
        return null;
      end
    $$`,
    `create trigger files_doom after delete on files referencing old table as gone
      for each statement execute function doom_files()`,
    `create function doom_blobs_of_runs() returns trigger language plpgsql as $$
      begin
        with taken as (delete from run_blobs where run_id in (select id from gone) returning key)
        insert into doomed_blobs (key) select key from taken on conflict do nothing;
        delete from files where run_id in (select id from gone);
        return null;
      end
    $$`,
    `create trigger runs_doom_blobs after delete on runs referencing old table as gone
      for each statement execute function doom_blobs_of_runs()`,

    // Null: the default of the installation. 0: for ever.
    `create table retention_policies (
      workspace_id uuid primary key references workspaces on delete cascade,
      executions_days integer check (executions_days >= 0),
      schedule_slots_days integer check (schedule_slots_days >= 0),
      webhook_logs_days integer check (webhook_logs_days >= 0),
      files_days integer check (files_days >= 0),
      ledger_begins timestamptz(3)
    )`,
    `create table retention_figures (
      workspace_id uuid not null references workspaces on delete cascade,
      kind text not null check (kind in ('executions', 'schedule_slots', 'webhook_logs')),
      deleted bigint not null,
      last_deleted_at timestamptz(3) not null default app_now(),
      primary key (workspace_id, kind)
    )`,
    // A deleted run takes its commands along, applied ones too.
    `create index run_inbox_by_run on run_inbox (run_id)`,
  ],
}
