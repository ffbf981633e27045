import type { Migration } from './migration.ts'

/** Credentials of many types with their tokens and uses, provider keys of workspaces, and where a workspace lets requests go. */
export const vault: Migration = {
  name: '0024-vault',
  statements: [
    // The types are data of the program, which older processes beside this one need not know.
    `alter table credentials drop constraint if exists credentials_kind_check`,
    // Null: an older process has stored all fields sealed.
    `alter table credentials add column fields jsonb`,
    `alter table credentials add column field_schema jsonb`,
    `alter table credentials add column test_url text`,
    `alter table credentials add column version integer not null default 1`,
    `alter table credentials add column updated_at timestamptz(3) not null default app_now()`,
    `alter table credentials add column last_test jsonb`,
    `alter table credentials add column sealed_tokens text`,
    `alter table credentials add column connection text
      check (connection in ('pending', 'connected', 'reauthorize'))`,
    `alter table credentials add column token_expires_at timestamptz(3)`,
    // Who asks the authorization server for all the others, and until when they wait for it.
    `alter table credentials add column token_lease uuid`,
    `alter table credentials add column token_lease_until timestamptz(3)`,

    // No foreign keys: what was used stays told when the credential or the run is gone.
    `create table credential_uses (
      id uuid primary key,
      workspace_id uuid not null,
      credential_id uuid not null,
      host text not null,
      outcome text not null,
      status integer,
      run_id uuid,
      step text,
      agent_id text,
      tool text,
      count integer not null default 1,
      created_at timestamptz(3) not null default app_now()
    )`,
    `create index credential_uses_by_credential on credential_uses (workspace_id, credential_id, created_at, id)`,
    `create index credential_uses_by_age on credential_uses (created_at)`,

    `create table user_api_keys (
      id uuid primary key,
      workspace_id uuid not null references workspaces on delete cascade,
      provider text not null,
      name text not null,
      base_url text,
      sealed text not null,
      hint text not null,
      version integer not null default 1,
      last_test jsonb,
      last_used_at timestamptz(3),
      created_at timestamptz(3) not null default app_now(),
      updated_at timestamptz(3) not null default app_now(),
      unique (workspace_id, provider)
    )`,

    `create table egress_rules (
      id uuid primary key,
      workspace_id uuid not null references workspaces on delete cascade,
      action text not null check (action in ('allow', 'deny')),
      pattern text not null,
      note text,
      created_at timestamptz(3) not null default app_now(),
      unique (workspace_id, action, pattern)
    )`,
  ],
}
