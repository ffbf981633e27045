import type { Migration } from './migration.ts'

/** The log that shows tampering, settings of the installation with whoever changed them, archives of what is stored of whom. */
export const auditAndPrivacy: Migration = {
  name: '0026-audit-and-privacy',
  statements: [
    // One row a workspace: an entry is appended by the statement that moves it, so the chain has one order and no gaps.
    `create table audit_heads (
      workspace_id uuid primary key references workspaces on delete cascade,
      seq bigint not null,
      prev_hash text not null,
      hash text not null,
      at timestamptz(3) not null,
      signed_seq bigint not null default 0,
      looked_at timestamptz(3)
    )`,
    // To the head, not to the workspace: the appending statement holds the head already, and takes no other lock behind it.
    `create table audit_logs (
      workspace_id uuid not null references audit_heads on delete cascade,
      seq bigint not null,
      id uuid not null unique,
      actor_kind text not null,
      actor_id text not null,
      action text not null,
      target_type text not null,
      target_id text not null,
      request_id text,
      before jsonb,
      after jsonb,
      client_address text,
      change_nonce text,
      change_hash text not null,
      address_nonce text,
      address_hash text not null,
      created_at timestamptz(3) not null,
      prev_hash text not null,
      hash text not null,
      primary key (workspace_id, seq)
    )`,
    `create index audit_logs_by_actor on audit_logs (workspace_id, actor_id, seq)`,
    `create index audit_logs_by_action on audit_logs (workspace_id, action, seq)`,
    `create index audit_logs_by_target on audit_logs (workspace_id, target_id, seq)`,
    `create index audit_logs_by_time on audit_logs (workspace_id, created_at)`,
    `create table audit_seals (
      workspace_id uuid not null references audit_heads on delete cascade,
      kind text not null check (kind in ('checkpoint', 'anchor')),
      seq bigint not null,
      hash text not null,
      at timestamptz(3) not null,
      signature text not null,
      created_at timestamptz(3) not null default app_now(),
      primary key (workspace_id, kind, seq)
    )`,

    // Whoever acts in a workspace adds to its log and does no more, until the workspace goes as a whole.
    `create function keep_audit() returns trigger language plpgsql as $$
      begin
        if current_setting('role', true) = 'automatos_app' and (tg_op = 'UPDATE' or
          not exists (select from workspaces where id = old.workspace_id and deleted_at is not null)) then
          raise insufficient_privilege using message = 'What the audit log holds is neither changed nor deleted.';
        end if;
        return case tg_op when 'UPDATE' then new else old end;
      end $$`,
    `create trigger audit_logs_kept before update or delete on audit_logs for each row execute function keep_audit()`,
    `create trigger audit_seals_kept before update or delete on audit_seals for each row execute function keep_audit()`,
    // The head goes from one entry to the next; how far it was signed is not for whoever acts to say.
    `create function keep_audit_head() returns trigger language plpgsql as $$
      begin
        if current_setting('role', true) = 'automatos_app' and (new.workspace_id <> old.workspace_id or
          new.seq <> old.seq + 1 or new.prev_hash <> old.hash or new.signed_seq <> old.signed_seq or
          new.looked_at is distinct from old.looked_at) then
          raise insufficient_privilege using message = 'The head of an audit log goes forward, by an entry at a time.';
        end if;
        return new;
      end $$`,
    `create trigger audit_heads_forward before update on audit_heads for each row execute function keep_audit_head()`,
    `create trigger audit_heads_kept before delete on audit_heads for each row execute function keep_audit()`,

    `alter table system_settings add column updated_by text`,
    // Every process that listens hears of a change in the commit that makes it.
    `create function note_settings_changed() returns trigger language plpgsql as $$
      begin
        perform pg_notify('automatos_wake', '{"t":1}');
        return null;
      end $$`,
    `create trigger note_settings_changed after insert or update or delete on system_settings
      for each statement execute function note_settings_changed()`,
    `alter table retention_policies add column audit_days integer check (audit_days >= 0)`,

    `create table privacy_exports (
      id uuid primary key,
      workspace_id uuid not null references workspaces on delete cascade,
      user_id uuid,
      state text not null default 'queued' check (state in ('queued', 'running', 'ready', 'failed')),
      leased_until timestamptz(3),
      attempts integer not null default 0,
      size bigint,
      parts integer not null default 0,
      progress jsonb,
      error text,
      created_by text not null,
      created_at timestamptz(3) not null default app_now(),
      finished_at timestamptz(3),
      expires_at timestamptz(3)
    )`,
    `create index privacy_exports_by_workspace on privacy_exports (workspace_id, created_at, id)`,
    `create index privacy_exports_open on privacy_exports (created_at) where state in ('queued', 'running')`,
    `create index privacy_exports_over on privacy_exports (expires_at) where expires_at is not null`,
    // One more than are counted: the last may have been put and not been counted yet.
    `create function doom_exports() returns trigger language plpgsql security definer as $$
      begin
        insert into doomed_blobs (key)
        select 'exports/' || workspace_id || '/' || id || '/' || lpad(part::text, 6, '0')
        from gone, generate_series(1, parts + 1) part on conflict do nothing;
        return null;
      end $$`,
    `create trigger privacy_exports_doom after delete on privacy_exports referencing old table as gone
      for each statement execute function doom_exports()`,

    // The one way in which an entry of the log is ever changed: what is a person's goes, its hash stays. Names are shared and
    // are ordinary words: one counts only as the whole of a name, and where the person has been. In steps, for it may be many
    // logs: each goes on behind a workspace, and gives the one that the next goes on behind; null was the last.
    `create function forget_person(person uuid, address text, called text, behind uuid default null) returns uuid
      language plpgsql security definer as $$
      declare
        begun timestamptz := clock_timestamp();
        -- As it stands in the text of a JSON value, with nothing around it that would make another address of it.
        written text := substr(to_jsonb(lower(address))::text, 2, length(to_jsonb(lower(address))::text) - 2);
        whole text := case when written like '%_@_%' then
          '(^|[^[:alnum:]._%+-]|\\\\[bfnrt])' || regexp_replace(written, '([][*+?.^$(){}|\\\\])', '\\\\\\1', 'g') || '($|[^[:alnum:]_-])' end;
        named text := '"name": ' || to_jsonb(lower(called))::text;
        decision record;
        log record;
        been boolean;
      begin
        if behind is null then
          -- A run holds what was decided as the very text, in its log, its steps and what it gave.
          for decision in
            select a.id, a.run_id, a.decided_by::text as old, (a.decided_by - 'name')::text as new from approvals a
            where a.decided_by ? 'name' and (
              a.decided_by ->> 'kind' = 'user' and a.decided_by ->> 'id' = person::text
              or a.decided_by ->> 'kind' = 'link' and (lower(a.decided_by ->> 'name') ~ whole
                or lower(a.decided_by ->> 'name') = lower(called) and exists (
                  select from memberships m where m.workspace_id = a.workspace_id and m.user_id = person)))
            order by a.run_id, a.id
          loop
            update runs set output = replace(output::text, decision.old, decision.new)::jsonb
              where id = decision.run_id and strpos(output::text, decision.old) > 0;
            update run_steps set output = replace(output::text, decision.old, decision.new)::jsonb
              where run_id = decision.run_id and strpos(output::text, decision.old) > 0;
            update run_events set data = replace(data::text, decision.old, decision.new)::jsonb
              where run_id = decision.run_id and strpos(data::text, decision.old) > 0;
            update approvals set decided_by = decision.new::jsonb where id = decision.id;
          end loop;
          update approval_links l set issued_to = null
            where lower(issued_to) ~ whole or lower(issued_to) = lower(called) and exists (
              select from memberships m where m.workspace_id = l.workspace_id and m.user_id = person);
          delete from invitations where lower(email) = lower(address);
          delete from privacy_exports where user_id = person;
          delete from idempotency_keys where strpos(lower(answer), written) > 0 and lower(answer) ~ whole;
        end if;
        for log in
          select workspace_id as id from audit_heads where behind is null or workspace_id > behind order by workspace_id
        loop
          been := exists (select from memberships where workspace_id = log.id and user_id = person)
            or exists (select from audit_logs where workspace_id = log.id and actor_id = person::text);
          update audit_logs set client_address = null, address_nonce = null
            where workspace_id = log.id and actor_id = person::text and actor_kind = 'user';
          update audit_logs set before = null, after = null, change_nonce = null
            where workspace_id = log.id and (target_id = person::text or exists (
              select from (values (lower(before::text)), (lower(after::text))) side(said)
              where strpos(said, person::text) > 0 or strpos(said, written) > 0 and said ~ whole
                or been and strpos(said, named) > 0));
          if clock_timestamp() > begun + interval '10 seconds' then
            return log.id;
          end if;
        end loop;
        return null;
      end $$`,
    // Across all workspaces: it is for the engine alone, which 0030 lets at it.
    `revoke execute on function forget_person from public`,
    `do $$ begin
      execute format('alter function doom_exports set search_path = %I, pg_temp', current_schema());
      execute format('alter function forget_person set search_path = %I, pg_temp', current_schema());
    end $$`,
  ],
}
