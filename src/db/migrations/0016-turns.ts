import type { Migration } from './migration.ts'

/**
 * Work for others is done in turns, a bounded part each time: how far an event has been offered and a wait has looked
 * back, how much each workspace keeps, and what is due by whom it is due to.
 */
export const turns: Migration = {
  name: '0016-turns',
  statements: [
    `alter table inbound_events
      add column cursor_run_id uuid,
      add column cursor_path text collate "C",
      add column bytes integer not null generated always as (octet_length(payload::text)) stored`,
    `alter table event_waits add column looked_to uuid`,
    `drop index inbound_events_unmatched`,
    `create index inbound_events_unmatched on inbound_events (workspace_id, created_at) where not matched`,
    // By the hour in which they end: what is over falls away without a count of what was removed.
    `create table event_bytes (
      workspace_id uuid not null references workspaces on delete cascade,
      until timestamptz(3) not null,
      bytes bigint not null,
      primary key (workspace_id, until)
    )`,
    `create index event_bytes_over on event_bytes (until)`,
    `create index webhook_deliveries_due_by_subscription on webhook_deliveries (subscription_id, next_attempt_at)
      where status = 'pending' and next_attempt_at is not null`,
    `create index schedule_events_due_by_workspace on schedule_events (workspace_id, next_attempt_at)
      where delivery = 'pending'`,
  ],
}
