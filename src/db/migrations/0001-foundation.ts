import type { Migration } from './migration.ts'

export const foundation: Migration = {
  name: '0001-foundation',
  statements: [
    // The one clock of every decision: due, lease, timeout, window. STABLE, so an index on a time can serve it.
    // Tests shift time for all connections at once by replacing this function.
    `create function app_now() returns timestamptz language sql stable as 'select statement_timestamp()'`,

    `create table workspaces (
      id uuid primary key,
      slug text not null unique,
      name text not null,
      settings jsonb not null default '{}',
      created_at timestamptz(3) not null default app_now(),
      updated_at timestamptz(3) not null default app_now()
    )`,
    `create table api_keys (
      id uuid primary key,
      workspace_id uuid not null references workspaces on delete cascade,
      name text not null,
      kind text not null check (kind in ('server', 'widget')),
      prefix text not null,
      hash text not null unique,
      scopes jsonb not null,
      rate_limit integer check (rate_limit > 0),
      allowed_ips jsonb not null default '[]',
      allowed_domains jsonb not null default '[]',
      expires_at timestamptz(3),
      last_used_at timestamptz(3),
      revoked_at timestamptz(3),
      created_by text,
      created_at timestamptz(3) not null default app_now()
    )`,
    `create index api_keys_by_workspace on api_keys (workspace_id, created_at, id)`,
    `create table credentials (
      id uuid primary key,
      workspace_id uuid not null references workspaces on delete cascade,
      slug text not null,
      name text not null,
      kind text not null check (kind in ('bearer', 'basic', 'header', 'query')),
      hosts jsonb not null,
      sealed text not null,
      last_used_at timestamptz(3),
      created_at timestamptz(3) not null default app_now(),
      unique (workspace_id, slug)
    )`,

    `create table models (
      id uuid primary key,
      provider text not null,
      model text not null,
      name text not null,
      context_window integer,
      max_output_tokens integer,
      capabilities jsonb not null default '[]',
      input_usd numeric,
      cached_input_usd numeric,
      cache_write_usd numeric,
      output_usd numeric,
      price_limit_tokens integer,
      seed_hash text,
      created_at timestamptz(3) not null default app_now(),
      updated_at timestamptz(3) not null default app_now(),
      unique (provider, model)
    )`,
    `create table model_usage (
      id uuid primary key,
      workspace_id uuid not null references workspaces on delete cascade,
      provider text not null,
      model text not null,
      status text not null check (status in ('ok', 'error', 'canceled')),
      error text,
      input_tokens integer,
      cached_input_tokens integer,
      output_tokens integer,
      reasoning_tokens integer,
      cost_usd numeric,
      price jsonb,
      latency_ms integer,
      simulated boolean not null default false,
      key_id uuid,
      agent_id uuid,
      run_id uuid,
      step_path text,
      created_at timestamptz(3) not null default app_now()
    )`,
    `create index model_usage_by_workspace on model_usage (workspace_id, created_at)`,
    `create index model_usage_by_agent on model_usage (agent_id, created_at) where agent_id is not null`,
    `create table system_settings (
      key text primary key,
      value jsonb not null,
      updated_at timestamptz(3) not null default app_now()
    )`,
    `create table system_prompts (
      slug text primary key,
      name text not null,
      purpose text not null,
      content text not null,
      seed_hash text,
      created_at timestamptz(3) not null default app_now(),
      updated_at timestamptz(3) not null default app_now()
    )`,

    `create table agents (
      id uuid primary key,
      workspace_id uuid not null references workspaces on delete cascade,
      slug text not null,
      name text not null,
      description text,
      version integer not null default 1,
      system_prompt text,
      model jsonb,
      tools jsonb not null default '[]',
      limits jsonb not null default '{}',
      created_at timestamptz(3) not null default app_now(),
      updated_at timestamptz(3) not null default app_now(),
      deleted_at timestamptz(3)
    )`,
    `create unique index agents_slug on agents (workspace_id, slug) where deleted_at is null`,
    `create index agents_by_workspace on agents (workspace_id, created_at, id)`,

    `create table workflow_recipes (
      id uuid primary key,
      workspace_id uuid not null references workspaces on delete cascade,
      slug text not null,
      name text not null,
      description text,
      version integer not null,
      created_at timestamptz(3) not null default app_now(),
      updated_at timestamptz(3) not null default app_now(),
      deleted_at timestamptz(3)
    )`,
    `create unique index workflow_recipes_slug on workflow_recipes (workspace_id, slug) where deleted_at is null`,
    `create index workflow_recipes_by_workspace on workflow_recipes (workspace_id, created_at, id)`,
    `create table recipe_versions (
      recipe_id uuid not null references workflow_recipes on delete cascade,
      version integer not null,
      workspace_id uuid not null references workspaces on delete cascade,
      definition jsonb not null,
      hash text not null,
      created_by text,
      created_at timestamptz(3) not null default app_now(),
      primary key (recipe_id, version)
    )`,
  ],
}
