import { roles } from '../scope.ts'
import type { Migration } from './migration.ts'

const all = 'select, insert, update, delete'
/** A scalar sub-select, so that it is worked out once a statement and not once a row. Null sees nothing. */
const workspace = `(select nullif(current_setting('app.workspace_id', true), '')::uuid)`

/** What requests and steps see of tables that have no workspace_id. Whatever is named neither here nor there nobody sees. */
const ofApp: { tables: string[]; sees: string; writes?: string; verbs?: string }[] = [
  // What a workspace is to the installation (its plan, its limits, whether it operates it) is not its own to say.
  {
    tables: ['workspaces'],
    sees: `id = ${workspace}`,
    verbs: 'select, update (name, settings, updated_at, deleted_at, purge_after)',
  },
  { tables: ['users'], sees: `exists (select from memberships m where m.user_id = users.id)`, verbs: 'select' },
  // What the installation offers to all.
  {
    tables: ['plans', 'models', 'system_settings', 'system_prompts', 'instances', 'component_samples'],
    sees: 'true',
    verbs: 'select',
  },
  // Parts of a run, which is looked up for each of them: for an \`exists\` the planner would rather read all runs of the
  // workspace at once. A run that the same statement makes is not seen yet, so what is asked of a new row is that its run
  // is no other workspace's.
  {
    tables: ['run_steps', 'run_calls', 'run_events', 'run_inbox', 'child_ends', 'crowded_slots'],
    sees: `(select true from runs r where r.id = run_id)`,
    writes: `not is_run_of_another(run_id)`,
  },
  {
    tables: ['run_families'],
    sees: `(select true from runs r where r.id = root_id)`,
    writes: `not is_run_of_another(root_id)`,
  },
  { tables: ['schedule_backfill_runs'], sees: `(select true from schedule_backfills b where b.id = backfill_id)` },
  { tables: ['workflow_runs'], sees: `(select true from workflows w where w.id = workflow_id)` },
  {
    tables: ['freed_slots'],
    sees: `counter = ${workspace} or exists (select from run_slots s where s.counter = freed_slots.counter)
      or exists (select from held_runs h where h.line = freed_slots.counter)`,
  },
  // By the key, for neither has to be of a run that is there: 'runs/<workspace>/…', 'files/<workspace>/…'.
  { tables: ['run_blobs', 'doomed_blobs'], sees: `split_part(key, '/', 2) = ${workspace}::text` },
]

/** What identity and the background services may do beyond the workspaces; they have no part in any other table. */
const ofEngine: [tables: string[], verbs?: string][] = [
  // The engine: it claims, advances, holds and recovers the runs of all workspaces.
  [['runs', 'run_queue', 'waits', 'run_steps', 'run_calls', 'run_events', 'run_inbox', 'run_families', 'child_ends']],
  [['run_slots', 'held_runs', 'freed_slots', 'crowded_slots', 'throttle_lines', 'joined_triggers', 'workspace_limits']],
  [['workspace_pauses'], 'select, insert, update'],
  [['model_usage'], 'select, insert'],
  [['workflow_recipes', 'recipe_versions'], 'select, insert, update'],
  [['inbound_events', 'event_waits', 'event_bytes', 'approvals', 'failure_notices']],
  // The services beside it.
  [['replays', 'replay_runs', 'workflows', 'workflow_plans', 'workflow_runs']],
  [
    [
      'schedules',
      'schedule_slots',
      'schedule_events',
      'schedule_pings',
      'schedule_backfills',
      'schedule_backfill_runs',
    ],
  ],
  [['webhooks'], 'select, update'],
  [['webhook_receipts', 'webhook_subscriptions', 'webhook_deliveries', 'idempotency_keys']],
  [['files', 'run_blobs', 'doomed_blobs', 'privacy_exports']],
  [['retention_policies', 'retention_figures']],
  [['instances', 'component_samples']],
  [['budgets', 'budget_reservations', 'budget_alerts']],
  [['credential_uses'], 'select, delete'],
  // Agents are assigned to the steps of a plan, and counted where a plan of the installation bounds them.
  [['agents'], 'select'],
  // Identity, before it is known who asks; and what holds for the whole installation.
  [
    [
      'workspaces',
      'users',
      'memberships',
      'api_keys',
      'revoked_sessions',
      'org_workspaces',
      'org_members',
      'spent_tokens',
    ],
  ],
  [['roles'], 'select'],
  [['approval_links'], 'select, update'],
  [['invitations'], 'select, update, delete'],
  [['plans'], 'select, insert, update'],
  [['models', 'system_settings', 'system_prompts']],
  // Acts of the system, and the erasure of a person; a trigger refuses every other change of an entry.
  [['audit_heads'], 'select, insert, update'],
  [['audit_logs']],
  // A rotation of the key ring signs them anew.
  [['audit_seals'], 'select, insert, update (signature), delete'],
]

/** An identifier or a text as SQL has it. None of them has a quote. */
const text = (value: string) => `$text$${value}$text$`
const list = (values: readonly string[]) => `array[${values.map((value) => `'${value}'`).join(', ')}]::text[]`

function madeBy(earlier: readonly Migration[], kind: 'table' | 'function'): string[] {
  const made = new RegExp(`create (?:or replace )?${kind} (?:if not exists )?(\\w+)`, 'g')
  const statements = earlier.flatMap((migration) => migration.statements)
  return [...new Set(statements.flatMap((statement) => [...statement.matchAll(made)].map(([, name]) => name!)))]
}

/**
 * Row-level security behind every query (docs/decisions/0022). The roles belong to the cluster, where many databases may be
 * migrated at once: what another makes first is there all the same. `earlier` tells what is ours in the schema.
 */
export const rowSecurity = (earlier: readonly Migration[]): Migration => ({
  name: '0030-row-security',
  // Each of them is altered, by the migrations that came out with this one too. First those with which a request begins, so that
  // no other begins; what others refer to before what is written after it; last what every insert asks for.
  locks: [
    'users',
    'api_keys',
    'memberships',
    ...madeBy(earlier, 'table').filter((table) => table !== 'workspaces'),
    'workspaces',
    'schema_migrations',
  ],
  statements: [
    `do $$
      declare
        wanted text;
        settable text := case when current_setting('server_version_num')::integer >= 160000 then 'SET' else 'MEMBER' end;
        advice text := format('Have an administrator run: create role ${roles.app}; create role ${roles.engine}; '
          'create role ${roles.migrator}; grant ${roles.app}, ${roles.engine}, ${roles.migrator} to %I; '
          'grant usage, create on schema %I to ${roles.migrator};', current_user, current_schema());
      begin
        foreach wanted in array ${list(Object.values(roles))} loop
          if to_regrole(wanted) is null then
            begin
              execute format('create role %I nologin noinherit', wanted);
            exception
              when duplicate_object or unique_violation then null;
              when insufficient_privilege then
                raise insufficient_privilege using
                  message = format('The database user %I may not create the role %I. ', current_user, wanted) || advice;
            end;
          end if;
          if exists (select from pg_roles where rolname = wanted and (rolsuper or rolbypassrls)) then
            raise exception 'The role % passes by row-level security. Take SUPERUSER and BYPASSRLS from it.', wanted;
          end if;
          for attempt in 1 .. 20 loop
            exit when pg_has_role(current_user, wanted, settable);
            begin
              execute format('grant %I to %I', wanted, current_user);
            exception
              -- 'tuple concurrently updated' has no code of its own.
              when unique_violation or internal_error then perform pg_sleep(0.05 * random());
              when insufficient_privilege or invalid_grant_operation then
                raise insufficient_privilege using
                  message = format('The database user %I may not act as the role %I. ', current_user, wanted) || advice;
            end;
          end loop;
        end loop;
        begin
          execute format('grant usage, create on schema %I to ${roles.migrator}', current_schema());
          execute format('grant usage on schema %I to ${roles.app}, ${roles.engine}', current_schema());
        exception when insufficient_privilege then null;
        end;
        if not has_schema_privilege('${roles.migrator}', current_schema(), 'create') or
          not has_schema_privilege('${roles.app}', current_schema(), 'usage') then
          raise insufficient_privilege using message = format('The database user %I may not give rights on the schema. ',
            current_user) || advice || format(' grant usage on schema %I to ${roles.app}, ${roles.engine};', current_schema());
        end if;
      end
    $$`,

    // What is ours becomes the migrator's; later migrations run as it.
    `do $$
      declare
        thing text;
      begin
        for thing in
          select c.oid::regclass::text from pg_class c
          where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p')
            and c.relname = any(${list(['schema_migrations', ...madeBy(earlier, 'table')])})
        loop
          execute format('alter table %s owner to ${roles.migrator}', thing);
        end loop;
        for thing in
          select p.oid::regprocedure::text from pg_proc p
          where p.pronamespace = current_schema()::regnamespace
            and p.proname = any(${list(madeBy(earlier, 'function'))})
        loop
          execute format('alter function %s owner to ${roles.migrator}', thing);
        end loop;
        -- They follow a row that is gone already, by which nobody else could see what belongs to it.
        foreach thing in array array[
          'delete_children_of_runs()', 'doom_blobs_of_runs()', 'doom_files()', 'delete_budgets_of_gone()'
        ] loop
          execute format('alter function %s security definer', thing);
          execute format('alter function %s set search_path = %I, pg_temp', thing, current_schema());
        end loop;
      end
    $$`,
    `set local role ${roles.migrator}`,

    // Forces policies onto every table of ours that has none yet: with a workspace_id the rows of the workspace are the
    // application's, without one nobody's. \`migrate\` calls it after every migration.
    `create function secure_tables() returns void language plpgsql as $$
      declare
        bare record;
      begin
        for bare in
          select c.oid::regclass as name, exists (
            select from pg_attribute a where a.attrelid = c.oid and a.attname = 'workspace_id' and not a.attisdropped
          ) as of_workspace
          from pg_class c
          where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p')
            and c.relowner = '${roles.migrator}'::regrole and not (c.relrowsecurity and c.relforcerowsecurity)
        loop
          execute format('alter table %s enable row level security, force row level security', bare.name);
          execute format('create policy migrator_rows on %s to ${roles.migrator} using (true)', bare.name);
          if bare.of_workspace then
            execute format('grant ${all} on %s to ${roles.app}', bare.name);
            execute format('create policy workspace_rows on %s to ${roles.app} using (workspace_id = ${workspace.replaceAll("'", "''")})',
              bare.name);
          end if;
        end loop;
      end
    $$`,
    // As the owner, who sees the runs of all.
    `create function is_run_of_another(run uuid) returns boolean language sql stable security definer as $$
      select ${workspace} is null or exists (select from runs where id = run and workspace_id <> ${workspace})
    $$`,
    `do $$ begin
      execute format('alter function is_run_of_another set search_path = %I, pg_temp', current_schema());
    end $$`,
    // Lets a role at the rows of a table that meet the condition. A table that is not there is passed over.
    `create function allow_rows(role_name text, table_name text, verbs text, sees text, writes text) returns void
      language plpgsql as $$
      begin
        if to_regclass(table_name) is null then
          return;
        end if;
        execute format('grant %s on %I to %I', verbs, table_name, role_name);
        execute format('create policy %I on %I to %I using (%s) with check (%s)',
          case role_name when '${roles.app}' then 'app_rows' else 'engine_rows' end, table_name, role_name, sees, writes);
      end
    $$`,
    // For who puts a partitioned table in the place of one: whoever may do what with which rows stays as it was.
    `create function copy_access(from_table regclass, to_table regclass) returns void language plpgsql as $$
      declare
        rule record;
      begin
        execute format('alter table %s enable row level security, force row level security', to_table);
        for rule in
          select privilege_type as verb, grantee::regrole::text as grantee
          from pg_class c cross join aclexplode(c.relacl)
          where c.oid = from_table and grantee not in (0, c.relowner)
        loop
          execute format('grant %s on %s to %s', rule.verb, to_table, rule.grantee);
        end loop;
        for rule in
          -- Its own columns a policy of many tables names by the table.
          select polname, polcmd,
            replace(pg_get_expr(polqual, polrelid), from_table || '.', to_table || '.') as sees,
            replace(pg_get_expr(polwithcheck, polrelid), from_table || '.', to_table || '.') as writes,
            (select string_agg(r::regrole::text, ', ') from unnest(polroles) r) as grantees
          from pg_policy where polrelid = from_table
        loop
          execute format('create policy %I on %s for %s to %s', rule.polname, to_table,
            case rule.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete' else 'all' end,
            rule.grantees) || coalesce(' using (' || rule.sees || ')', '') || coalesce(' with check (' || rule.writes || ')', '');
        end loop;
      end
    $$`,
    `do $$ begin
      if to_regproc('forget_person') is not null then
        grant execute on function forget_person to ${roles.engine};
      end if;
    end $$`,
    `select secure_tables()`,
    // Whoever looks whether the schema is current may have no role yet.
    `grant select on schema_migrations to public`,
    `create policy anyone on schema_migrations for select using (true)`,
    ...ofApp.flatMap(({ tables, sees, writes = sees, verbs = all }) =>
      tables.map(
        (table) => `select allow_rows('${roles.app}', '${table}', '${verbs}', ${text(sees)}, ${text(writes)})`,
      ),
    ),
    ...ofEngine.flatMap(([tables, verbs = all]) =>
      tables.map((table) => `select allow_rows('${roles.engine}', '${table}', '${verbs}', 'true', 'true')`),
    ),
  ],
})
