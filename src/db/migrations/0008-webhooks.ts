import type { Migration } from './migration.ts'

export const webhooks: Migration = {
  name: '0008-webhooks',
  statements: [
    `create table idempotency_keys (
      workspace_id uuid not null references workspaces on delete cascade,
      operation text not null,
      key text not null,
      fingerprint text not null,
      owner uuid not null,
      lease_until timestamptz(3) not null,
      answer text,
      created_at timestamptz(3) not null default app_now(),
      primary key (workspace_id, operation, key)
    )`,
    `create index idempotency_keys_by_age on idempotency_keys (created_at)`,
    // The keys of runs are in the runs themselves; this finds those that have had their day.
    `create index runs_idempotency_age on runs (created_at) where idempotency_key is not null`,

    `create table webhooks (
      id uuid primary key,
      workspace_id uuid not null references workspaces on delete cascade,
      recipe_id uuid not null references workflow_recipes on delete cascade,
      name text not null,
      auth jsonb not null,
      secret text not null,
      previous_secret text,
      previous_until timestamptz(3),
      filter text,
      input jsonb,
      event_id_header text,
      rate_limit integer not null check (rate_limit > 0),
      max_body_bytes integer not null check (max_body_bytes > 0),
      active boolean not null default true,
      created_at timestamptz(3) not null default app_now(),
      updated_at timestamptz(3) not null default app_now()
    )`,
    `create index webhooks_by_workspace on webhooks (workspace_id, created_at, id)`,
    `create table webhook_receipts (
      id uuid primary key,
      webhook_id uuid not null references webhooks on delete cascade,
      workspace_id uuid not null,
      event_id text,
      verdict text not null check (verdict in ('accepted', 'filtered', 'duplicate', 'rejected')),
      reason text,
      status integer not null,
      run_id uuid,
      redelivery_of uuid,
      content_type text,
      size integer not null,
      request jsonb,
      created_at timestamptz(3) not null default app_now()
    )`,
    // What settles two deliveries of one event that race: the second is a duplicate.
    `create unique index webhook_receipts_event on webhook_receipts (webhook_id, event_id)
      where event_id is not null and redelivery_of is null and verdict in ('accepted', 'filtered')`,
    `create index webhook_receipts_by_webhook on webhook_receipts (webhook_id, created_at, id)`,
    `create index webhook_receipts_by_age on webhook_receipts (created_at)`,

    `create table webhook_subscriptions (
      id uuid primary key,
      workspace_id uuid not null references workspaces on delete cascade,
      recipe_id uuid references workflow_recipes on delete cascade,
      name text not null,
      url text not null,
      events jsonb not null,
      secret text not null,
      previous_secret text,
      previous_until timestamptz(3),
      active boolean not null default true,
      disabled_reason text,
      failures integer not null default 0,
      failing_since timestamptz(3),
      retry_at timestamptz(3),
      created_at timestamptz(3) not null default app_now(),
      updated_at timestamptz(3) not null default app_now()
    ) with (fillfactor = 90)`,
    `create index webhook_subscriptions_by_workspace on webhook_subscriptions (workspace_id, created_at, id)`,
    `create table webhook_deliveries (
      id uuid primary key,
      subscription_id uuid not null references webhook_subscriptions on delete cascade,
      workspace_id uuid not null,
      event_type text not null,
      event_key text not null,
      run_id uuid,
      body text not null,
      status text not null default 'pending' check (status in ('pending', 'delivered', 'failed')),
      attempts integer not null default 0,
      tries integer not null default 0,
      next_attempt_at timestamptz(3) default app_now(),
      log jsonb not null default '[]',
      created_at timestamptz(3) not null default app_now(),
      finished_at timestamptz(3),
      unique (subscription_id, event_key)
    )`,
    // Null: its subscription is switched off.
    `create index webhook_deliveries_due on webhook_deliveries (next_attempt_at)
      where status = 'pending' and next_attempt_at is not null`,
    `create index webhook_deliveries_by_subscription on webhook_deliveries (subscription_id, created_at, id)`,
    `create index webhook_deliveries_by_age on webhook_deliveries (created_at) where status <> 'pending'`,

    // Of a run that somebody has subscribed to: which of its ends have been told, and up to which event. Neither is
    // touched by a checkpoint, and a run that nobody listens to is in no index for it.
    `alter table runs add column announced_generation integer, add column announced_seq integer`,
    `create index runs_to_announce on runs (finished_at)
      where announced_generation < generation and finished_at is not null`,
  ],
}
