import type { Migration } from './migration.ts'

/** Tokens that were spent, sessions that were ended, keys in the course of a rotation, organizations that are workspaces here. */
export const tokensAndSessions: Migration = {
  name: '0023-tokens-and-sessions',
  statements: [
    `create table spent_tokens (
      id text primary key,
      workspace_id uuid not null,
      expires_at timestamptz(3) not null
    )`,
    `create index spent_tokens_ended on spent_tokens (expires_at)`,

    // A session goes on at the identity provider, so its new tokens have to be refused as well: the row stays.
    `create table revoked_sessions (
      user_id uuid not null references users on delete cascade,
      sid text not null,
      revoked_at timestamptz(3) not null default app_now(),
      primary key (user_id, sid)
    )`,

    `alter table api_keys
      add column previous_hash text,
      add column previous_valid_until timestamptz(3),
      add column rotated_at timestamptz(3)`,
    `create unique index api_keys_previous_hash on api_keys (previous_hash) where previous_hash is not null`,
    // Which keys a key has made, for revoking them with it.
    `create index api_keys_created_by on api_keys (workspace_id, created_by)`,

    `create table org_workspaces (
      issuer text not null,
      org_id text not null,
      workspace_id uuid not null unique references workspaces on delete cascade,
      role_map jsonb not null default '{}',
      created_at timestamptz(3) not null default app_now(),
      updated_at timestamptz(3) not null default app_now(),
      primary key (issuer, org_id)
    )`,
    // Who has come in by the organization: once removed from the team, nobody comes in again by the same way.
    `create table org_members (
      workspace_id uuid not null references org_workspaces (workspace_id) on delete cascade,
      user_id uuid not null references users on delete cascade,
      joined_at timestamptz(3) not null default app_now(),
      primary key (workspace_id, user_id)
    )`,
    `create index org_members_by_user on org_members (user_id)`,

    // Told in the commit itself, whoever makes it: no process goes on letting in what another one has shut out. An insert
    // takes nothing away, but for a session that is ended.
    `create function note_callers_changed() returns trigger language plpgsql as $$
      begin
        perform pg_notify('automatos_wake', json_build_object(
          'p', 'database',
          'k', json_build_array(to_jsonb(case when tg_op = 'DELETE' then old else new end) ->> tg_argv[0])
        )::text);
        return null;
      end $$`,
    `create trigger api_keys_changed
      after delete or update of scopes, kind, rate_limit, allowed_ips, allowed_domains, expires_at, revoked_at, hash,
        previous_hash, previous_valid_until on api_keys
      for each row execute function note_callers_changed('id')`,
    `create trigger memberships_changed after delete or update on memberships
      for each row execute function note_callers_changed('user_id')`,
    `create trigger users_changed
      after delete or update of tokens_valid_after, default_workspace_id, personal_workspace_id on users
      for each row execute function note_callers_changed('id')`,
    `create trigger roles_changed after delete or update on roles
      for each row execute function note_callers_changed('workspace_id')`,
    `create trigger workspaces_changed after delete or update of slug, is_operator, deleted_at on workspaces
      for each row execute function note_callers_changed('id')`,
    `create trigger revoked_sessions_changed after insert on revoked_sessions
      for each row execute function note_callers_changed('user_id')`,
  ],
}
