import type { Migration } from './migration.ts'

const ended = `('succeeded', 'failed', 'canceled', 'timed_out')`

/**
 * Who holds and who wants a slot is rows, not a number beside them: what is counted cannot differ from its count. Runs that
 * are ready but for a slot, a time or their workspace stand beside the queue, so that no claim walks past them.
 */
export const concurrency: Migration = {
  name: '0019-concurrency',
  statements: [
    // True where a claim has to ask for slots. No index names it: setting it keeps an update on its page.
    `alter table runs add column slotted boolean not null default false`,
    `create index runs_blocked on runs (id) where state = 'blocked'`,
    `alter table schedules add column priority integer`,
    `alter table webhooks add column priority integer`,

    // One for each limit that a run is under. 'over' is kept of a run that has ended: a retry asks for the same again.
    // Scopes in the order of the alphabet are the order in which slots are taken.
    `create table run_slots (
      run_id uuid not null references runs on delete cascade,
      counter uuid not null,
      workspace_id uuid not null,
      scope text not null check (scope in ('key', 'recipe', 'workspace')),
      size integer not null check (size > 0),
      key text,
      state text not null default 'wanted' check (state in ('wanted', 'held', 'over')),
      primary key (run_id, counter)
    )`,
    `create index run_slots_by_counter on run_slots (counter, state, run_id) where state <> 'over'`,

    // 'slot': blocked, in the line of the counter. 'debounce', 'throttle': ready at a time. 'paused': ready, but for its workspace.
    `create table held_runs (
      run_id uuid primary key references runs on delete cascade,
      workspace_id uuid not null,
      reason text not null check (reason in ('slot', 'debounce', 'throttle', 'paused')),
      line uuid,
      priority integer not null default 0,
      since timestamptz(3) not null default app_now(),
      until timestamptz(3)
    )`,
    `create index held_runs_line on held_runs (line, priority desc, since, run_id) where line is not null`,
    `create index held_runs_due on held_runs (until) where until is not null`,
    `create index held_runs_by_workspace on held_runs (workspace_id, reason)`,

    // Counters of which a slot has become free, in the commit that freed it; whoever reads a note hands the slot on.
    `create table freed_slots (
      id bigint generated always as identity primary key,
      counter uuid not null
    )`,
    // What a trigger has left of the runs that end for its own, for a tick.
    `create table crowded_slots (
      counter uuid primary key,
      run_id uuid not null references runs on delete cascade,
      size integer not null
    )`,
    `create table workspace_limits (
      workspace_id uuid primary key references workspaces on delete cascade,
      runs integer not null check (runs > 0)
    )`,
    // The last starts of a throttle, as many as its limit, the earliest first.
    `create table throttle_lines (
      line uuid primary key,
      workspace_id uuid not null references workspaces on delete cascade,
      starts timestamptz(3)[] not null,
      until timestamptz(3) not null
    )`,
    `create index throttle_lines_over on throttle_lines (until)`,
    // Idempotency keys of triggers that a run of another trigger has taken in.
    `create table joined_triggers (
      workspace_id uuid not null,
      idempotency_key text not null,
      request_hash text not null,
      run_id uuid not null references runs on delete cascade,
      primary key (workspace_id, idempotency_key)
    )`,
    `create index joined_triggers_by_run on joined_triggers (run_id)`,

    // Taken in the order of their ids by whoever gives slots away, until the commit: what is counted below is what is so.
    `create function lock_counters(counters uuid[]) returns void language plpgsql as $$
      begin
        perform pg_advisory_xact_lock(hashtextextended(c.counter::text, 0))
        from (select distinct counter from unnest(counters) as counter order by counter) c;
      end
    $$`,
    // What a workspace's limit is now, whatever it was when the slot was asked for.
    `create function size_of_slot(slot run_slots) returns integer language sql stable as $$
      select case when slot.scope = 'workspace'
        then coalesce((select runs from workspace_limits l where l.workspace_id = slot.counter), 2147483647)
        else slot.size end
    $$`,
    `create function has_room(slot run_slots) returns boolean language plpgsql as $$
      declare
        most integer := size_of_slot(slot);
      begin
        return (select count(*) from (
          select from run_slots s where s.counter = slot.counter and s.state = 'held' limit most) held) < most;
      end
    $$`,

    // Gives the runs of a claim the slots that they want, and answers those that have all. One that finds a slot taken, or
    // others before it in its line, is blocked there and keeps what it has got: slots are taken in one order, so no two
    // claims wait for each other. One that is to end at once needs none.
    `create function take_slots(ids uuid[]) returns setof uuid language plpgsql as $$
      declare
        asking record;
        wanted run_slots;
        missing boolean;
        seq integer;
      begin
        insert into run_slots (run_id, counter, workspace_id, scope, size)
        select r.id, r.workspace_id, r.workspace_id, 'workspace', l.runs
        from runs r join workspace_limits l on l.workspace_id = r.workspace_id where r.id = any(ids)
        on conflict do nothing;
        perform lock_counters(array(select s.counter from run_slots s where s.run_id = any(ids) and s.state = 'wanted'));
        for asking in
          select r.id, r.workspace_id, r.priority, r.deadline_at, r.pending_commands, q.ready_at
          from runs r join run_queue q on q.run_id = r.id
          where r.id = any(ids) order by r.priority desc, q.ready_at, r.id
        loop
          missing := false;
          if not (coalesce(asking.deadline_at <= app_now(), false) or asking.pending_commands > 0 and exists (
            select from run_inbox i where i.run_id = asking.id and i.kind = 'cancel' and i.applied_at is null)) then
            for wanted in
              select * from run_slots s where s.run_id = asking.id and s.state = 'wanted' order by s.scope
            loop
              missing := not has_room(wanted) or exists (
                select from held_runs h where h.line = wanted.counter and h.reason = 'slot' and (h.priority > asking.priority
                  or h.priority = asking.priority and (h.since, h.run_id) < (asking.ready_at, asking.id)));
              exit when missing;
              update run_slots s set state = 'held' where s.run_id = asking.id and s.counter = wanted.counter;
            end loop;
          end if;
          if not missing then
            return next asking.id;
            continue;
          end if;
          delete from run_queue q where q.run_id = asking.id;
          delete from waits w where w.run_id = asking.id;
          insert into held_runs as h (run_id, workspace_id, reason, line, priority, since, until)
          values (asking.id, asking.workspace_id, 'slot', wanted.counter, asking.priority, asking.ready_at, asking.deadline_at)
          on conflict (run_id) do update set reason = excluded.reason, line = excluded.line, priority = excluded.priority,
            since = excluded.since, until = excluded.until;
          -- From here on it may be given a slot, and whatever ends it then has to give it back.
          update runs r set state = 'blocked', slotted = true, last_seq = r.last_seq + 1
          where r.id = asking.id returning r.last_seq into seq;
          insert into run_events (run_id, seq, type, data)
          values (asking.id, seq, 'execution.blocked', jsonb_strip_nulls(jsonb_build_object(
            'scope', wanted.scope, 'key', wanted.key, 'limit', size_of_slot(wanted))));
        end loop;
      end
    $$`,
    // Hands the free slots of counters to those who wait longest for them, by priority, and answers who is ready now.
    // Waits for no run: where one is just being changed, the note is left for the next to come.
    `create function pass_slots(counters uuid[]) returns setof uuid language plpgsql as $$
      declare
        next_counter uuid;
        first record;
        wanted run_slots;
      begin
        perform lock_counters(counters);
        for next_counter in select distinct c from unnest(counters) as c loop
          loop
            select h.run_id, h.workspace_id, h.priority, h.since into first
            from held_runs h join runs r on r.id = h.run_id
            where h.line = next_counter and h.reason = 'slot' and r.state = 'blocked'
            order by h.priority desc, h.since, h.run_id limit 1 for update of h, r skip locked;
            if not found then
              insert into freed_slots (counter) select next_counter
              where exists (select from held_runs h join runs r on r.id = h.run_id
                where h.line = next_counter and h.reason = 'slot' and r.state = 'blocked');
              exit;
            end if;
            select * into wanted from run_slots s where s.run_id = first.run_id and s.counter = next_counter;
            exit when wanted.state = 'wanted' and not has_room(wanted);
            update run_slots s set state = 'held' where s.run_id = first.run_id and s.counter = next_counter;
            delete from held_runs h where h.run_id = first.run_id;
            update runs r set state = 'queued', slotted = true where r.id = first.run_id;
            insert into run_queue (run_id, workspace_id, priority, ready_at)
            values (first.run_id, first.workspace_id, first.priority, first.since) on conflict do nothing;
            return next first.run_id;
          end loop;
        end loop;
      end
    $$`,

    // Whoever ends, parks or pauses a run gives its slots back with the same statement, and a retry asks for them anew. A run
    // that waits keeps all but its workspace's.
    `create function release_slots() returns trigger language plpgsql as $$
      begin
        if old.state in ${ended} then
          update run_slots s set state = 'wanted' where s.run_id = new.id and s.state = 'over';
          return null;
        end if;
        insert into freed_slots (counter) select s.counter from run_slots s
        where s.run_id = new.id and s.state = 'held' and (new.state <> 'waiting' or s.scope = 'workspace');
        delete from run_slots s where s.run_id = new.id and s.scope = 'workspace';
        if new.state <> 'waiting' then
          update run_slots s set state = case new.state when 'paused' then 'wanted' else 'over' end where s.run_id = new.id;
          delete from held_runs h where h.run_id = new.id and h.reason = 'slot';
        end if;
        return null;
      end
    $$`,
    // Of runs without limits this is one look at a column.
    `create trigger runs_release_slots after update of state on runs for each row
      when (old.slotted and old.state is distinct from new.state
        and (new.state in ('waiting', 'paused', 'succeeded', 'failed', 'canceled', 'timed_out') or old.state in ${ended}))
      execute function release_slots()`,

    // As before, but that whoever stands beside the queue comes into it.
    `create or replace function cancel_by_inbox(target uuid, reason text) returns text language plpgsql as $$
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
        delete from held_runs where run_id = target;
        if told.state <> 'running' then
          insert into run_queue (run_id, workspace_id, priority) values (target, told.workspace_id, told.priority)
          on conflict do nothing;
        end if;
        return told.state;
      end
    $$`,
  ],
}
