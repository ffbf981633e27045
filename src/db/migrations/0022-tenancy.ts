import type { Migration } from './migration.ts'

/** All that a key could hold before this migration: a key with all of it was made to hold everything. */
const allBefore = [
  'workspaces:read',
  'workspaces:manage',
  'api-keys:read',
  'api-keys:manage',
  'credentials:read',
  'credentials:manage',
  'agents:read',
  'agents:write',
  'agents:execute',
  'models:read',
  'recipes:read',
  'recipes:write',
  'recipes:execute',
  'executions:read',
  'executions:control',
  'approvals:read',
  'approvals:decide',
  'events:send',
  'schedules:read',
  'schedules:write',
  'webhooks:read',
  'webhooks:write',
  'files:read',
  'files:write',
  'system:read',
]
const added = [
  'members:read',
  'members:manage',
  'audit:read',
  'budgets:read',
  'budgets:manage',
  'privacy:export',
  'system:manage',
]

/** Plans and limits, deletion with a grace period, roles of a workspace's own, invitations and keys of persons. */
export const tenancy: Migration = {
  name: '0022-tenancy',
  statements: [
    // A limit that a plan does not name, or that is null, is none.
    `create table plans (
      slug text primary key,
      name text not null,
      limits jsonb not null default '{}',
      created_at timestamptz(3) not null default app_now(),
      updated_at timestamptz(3) not null default app_now()
    )`,
    `insert into plans (slug, name) values ('default', 'Default')`,

    // `limits` are the operator's for this one workspace and come before those of the plan.
    `alter table workspaces
      add column is_operator boolean not null default false,
      add column plan text not null default 'default' references plans,
      add column limits jsonb not null default '{}',
      add column deleted_at timestamptz(3),
      add column purge_after timestamptz(3)`,
    `create index workspaces_by_plan on workspaces (plan)`,
    `create index workspaces_to_purge on workspaces (purge_after) where purge_after is not null`,
    `update workspaces set is_operator = true
      where id = (select id from workspaces order by slug = 'default' desc, created_at, id limit 1)`,
    `update api_keys set scopes = scopes || '${JSON.stringify(added)}'
      where workspace_id in (select id from workspaces where is_operator)
        and scopes @> '${JSON.stringify(allBefore)}' and not scopes @> '${JSON.stringify(added)}'`,

    `create table roles (
      id uuid primary key,
      workspace_id uuid not null references workspaces on delete cascade,
      slug text not null,
      name text not null,
      description text,
      permissions jsonb not null,
      created_at timestamptz(3) not null default app_now(),
      updated_at timestamptz(3) not null default app_now(),
      unique (workspace_id, slug)
    )`,
    // A membership names a built-in role or one of its workspace. To a process that knows the built-in ones alone, another gives nothing.
    `alter table memberships drop constraint memberships_role_check`,

    // Where a request acts that names no workspace, once its user has chosen.
    `alter table users add column default_workspace_id uuid references workspaces on delete set null`,
    `create index users_by_default_workspace on users (default_workspace_id) where default_workspace_id is not null`,
    // The key of a person: it acts as its user, with the role held in the key's workspace.
    `alter table api_keys add column user_id uuid references users on delete cascade`,
    `create index api_keys_by_user on api_keys (user_id) where user_id is not null`,

    `create table invitations (
      id uuid primary key,
      workspace_id uuid not null references workspaces on delete cascade,
      email text not null,
      role text not null,
      token_hash text not null unique,
      invited_by text not null,
      expires_at timestamptz(3) not null,
      accepted_at timestamptz(3),
      accepted_by uuid,
      revoked_at timestamptz(3),
      created_at timestamptz(3) not null default app_now()
    )`,
    `create index invitations_by_workspace on invitations (workspace_id, created_at, id)`,
    `create unique index invitations_open on invitations (workspace_id, email)
      where accepted_at is null and revoked_at is null`,
  ],
}
