import type { Migration } from './migration.ts'

const ended = `('succeeded', 'failed', 'canceled', 'timed_out')`

/**
 * What steps wait for that others bring: events, approvals, the ends of child runs. What was brought is stored first; the
 * run that waits is only nudged to look, so that no answer lives in a message.
 */
export const outside: Migration = {
  name: '0010-outside',
  statements: [
    `create table inbound_events (
      id uuid primary key,
      workspace_id uuid not null references workspaces on delete cascade,
      run_id uuid references runs on delete cascade,
      name text not null,
      payload jsonb not null,
      idempotency_key text,
      request_hash text not null,
      created_by text,
      matched boolean not null default false,
      taken_at timestamptz(3),
      created_at timestamptz(3) not null default app_now(),
      expires_at timestamptz(3) not null
    )`,
    `create unique index inbound_events_idempotency on inbound_events (workspace_id, idempotency_key)
      where idempotency_key is not null`,
    `create index inbound_events_by_name on inbound_events (workspace_id, name, id)`,
    `create index inbound_events_by_run on inbound_events (run_id) where run_id is not null`,
    // Small: those that have not been offered to every wait yet.
    `create index inbound_events_unmatched on inbound_events (created_at) where not matched`,
    `create index inbound_events_over on inbound_events (expires_at)`,
    `create table event_waits (
      run_id uuid not null references runs on delete cascade,
      path text collate "C" not null,
      generation integer not null,
      workspace_id uuid not null,
      name text not null,
      match jsonb,
      condition jsonb,
      state text not null default 'open' check (state in ('open', 'delivered', 'expired')),
      event_id uuid,
      payload jsonb,
      created_at timestamptz(3) not null default app_now(),
      expires_at timestamptz(3),
      closed_at timestamptz(3),
      primary key (run_id, path, generation)
    )`,
    `create index event_waits_open on event_waits (workspace_id, name, run_id, path) where state = 'open'`,
    `create index event_waits_by_event on event_waits (event_id) where event_id is not null`,

    `create table approvals (
      id uuid primary key,
      workspace_id uuid not null references workspaces on delete cascade,
      run_id uuid not null references runs on delete cascade,
      path text collate "C" not null,
      generation integer not null,
      step_id text not null,
      name text,
      message text not null,
      payload jsonb,
      payload_schema jsonb,
      state text not null default 'pending' check (state in ('pending', 'approved', 'rejected', 'expired')),
      comment text,
      decided_payload jsonb,
      decided_by jsonb,
      decided_at timestamptz(3),
      created_at timestamptz(3) not null default app_now(),
      expires_at timestamptz(3),
      unique (run_id, path, generation)
    )`,
    `create index approvals_by_workspace on approvals (workspace_id, created_at, id)`,
    `create index approvals_pending on approvals (workspace_id, created_at, id) where state = 'pending'`,
    `create table approval_links (
      id uuid primary key,
      approval_id uuid not null references approvals on delete cascade,
      workspace_id uuid not null,
      issued_to text,
      maker jsonb not null,
      created_at timestamptz(3) not null default app_now(),
      expires_at timestamptz(3) not null
    )`,
    `create index approval_links_by_approval on approval_links (approval_id)`,

    // Written in the child's own last commit, taken away in the commit that nudges the parent. No reference to runs: its
    // check would lock the parent's row, which whoever ends both at once takes in the other order.
    `create table child_ends (
      run_id uuid primary key,
      parent_run_id uuid not null,
      ended_at timestamptz(3) not null default app_now()
    )`,
    `create function note_child_end() returns trigger language plpgsql as $$
      begin
        if new.parent_run_id is not null then
          insert into child_ends (run_id, parent_run_id) values (new.id, new.parent_run_id) on conflict do nothing;
        end if;
        return null;
      end
    $$`,
    // Of state alone: checkpoints on the way do not name that column, and are not looked at.
    `create trigger runs_note_child_end after update of state on runs for each row
      when (new.state in ${ended} and old.state is distinct from new.state and new.trigger ->> 'kind' = 'recipe')
      execute function note_child_end()`,

    // Tells a run to look for what it waits for, and adds to its log. A parked run becomes ready; the owner of any other
    // finds the command, and may not park before it has taken it up. Null: the run has ended.
    `create function nudge_run(target uuid, event_type text default null, event_data jsonb default null)
      returns text language plpgsql as $$
      declare
        told record;
      begin
        update runs set pending_commands = pending_commands + 1,
          last_seq = last_seq + case when event_type is null then 0 else 1 end
        where id = target and state not in ${ended}
        returning state, workspace_id, priority, last_seq into told;
        if not found then
          return null;
        end if;
        insert into run_inbox (id, run_id, kind) values (gen_random_uuid(), target, 'look');
        if event_type is not null then
          insert into run_events (run_id, seq, type, data) values (target, told.last_seq, event_type, event_data);
        end if;
        if told.state = 'waiting' then
          insert into run_queue (run_id, workspace_id, priority) values (target, told.workspace_id, told.priority)
          on conflict do nothing;
        end if;
        return told.state;
      end
    $$`,
    // Cancels a run by its inbox, whoever holds it or nobody: whoever claims it next takes the command up.
    `create function cancel_by_inbox(target uuid, reason text) returns text language plpgsql as $$
      declare
        told record;
      begin
        update runs set pending_commands = pending_commands + 1,
          state = case when state in ('paused', 'blocked') then 'queued' else state end
        where id = target and state not in ${ended}
        returning state, workspace_id, priority into told;
        if not found then
          return null;
        end if;
        insert into run_inbox (id, run_id, kind, payload)
        values (gen_random_uuid(), target, 'cancel', jsonb_build_object('reason', reason));
        if told.state <> 'running' then
          insert into run_queue (run_id, workspace_id, priority) values (target, told.workspace_id, told.priority)
          on conflict do nothing;
        end if;
        return told.state;
      end
    $$`,

    `alter table run_calls drop constraint run_calls_kind_check`,
    `alter table run_calls add constraint run_calls_kind_check
      check (kind in ('model', 'tool', 'http', 'notify')) not valid`,
  ],
}
