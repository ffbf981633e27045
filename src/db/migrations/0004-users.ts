import type { Migration } from './migration.ts'

export const users: Migration = {
  name: '0004-users',
  statements: [
    `create table users (
      id uuid primary key,
      issuer text not null,
      subject text not null,
      email text,
      name text,
      claims_issued_at timestamptz(3) not null,
      personal_workspace_id uuid references workspaces on delete set null,
      tokens_valid_after timestamptz(3),
      created_at timestamptz(3) not null default app_now(),
      updated_at timestamptz(3) not null default app_now(),
      unique (issuer, subject)
    )`,
    `create table memberships (
      workspace_id uuid not null references workspaces on delete cascade,
      user_id uuid not null references users on delete cascade,
      role text not null check (role in ('owner', 'admin', 'editor', 'viewer')),
      created_at timestamptz(3) not null default app_now(),
      primary key (workspace_id, user_id)
    )`,
    `create index memberships_by_user on memberships (user_id, workspace_id)`,
    // The reference from workspaces would otherwise be checked by reading all users.
    `create index users_by_personal_workspace on users (personal_workspace_id)`,
  ],
}
