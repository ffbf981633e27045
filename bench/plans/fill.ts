import type { Sql } from 'postgres'

/** A database as a busy installation has it after three months, and what the statements are asked about. */
export interface Filled {
  /** The workspace with the most runs, a sixth of all. */
  workspace: string
  /** One with few. */
  quietWorkspace: string
  /** Half of the workspace's runs. */
  recipe: string
  /** Three runs. */
  rareRecipe: string
  schedule: string
  rareSchedule: string
  /** One that has ended, with steps and events. */
  run: string
  /** How many rows each table has. */
  rows: Record<string, number>
  megabytes: number
}

const workspaces = 1_000
const recipesEach = 10
/** Of this part of all runs, the latest, there are steps and events too: the others would only take up room. */
const withSteps = 0.1
const tables = ['runs', 'run_queue', 'waits', 'run_steps', 'run_events', 'schedules', 'schedule_slots']

// Ids by number, so that no row has to be looked up to refer to it.
const named = (kind: number, number: string) =>
  `('0000000${kind}-0000-7000-8000-' || lpad(to_hex((${number})::bigint), 12, '0'))::uuid`
const workspaceOf = (w: string) => named(1, w)
const recipeOf = (w: string, r: string) => named(2, `(${w}) * 16 + (${r})`)
const scheduleOf = (w: string, s: string) => named(3, `(${w}) * 4096 + (${s})`)

/** Loads the rows without triggers and checks, and with the indexes built behind: as quick as it goes. */
export async function fill(client: Sql, runs: number): Promise<Filled> {
  const schedulesEach = Math.max(1, Math.min(100, Math.round(runs / 100_000)))
  const newest = Math.max(200, Math.round(runs / 5_000))
  await client.unsafe(`
    set session_replication_role = replica; set synchronous_commit = off; set maintenance_work_mem = '1GB';
    select setseed(0.5);
    create function bench_at(n bigint) returns timestamptz language sql stable as $$
      select '${new Date().toISOString()}'::timestamptz - interval '1 minute'
        - interval '90 days' * (1 - n::double precision / ${runs}) - case when n <= ${runs / 1_000} then interval '5 days' else interval '0' end
    $$;
    create function bench_run(n bigint) returns uuid language sql stable as $$
      select (lpad(to_hex(floor(extract(epoch from bench_at(n)) * 1000)::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 3)
        || '8' || substr(md5(n::text), 4, 15))::uuid
    $$;
    insert into workspaces (id, slug, name) select ${workspaceOf('w')}, 'w' || w, 'Workspace ' || w from generate_series(0, ${workspaces - 1}) w;
    insert into workflow_recipes (id, workspace_id, slug, name, version)
      select ${recipeOf('w', 'r')}, ${workspaceOf('w')}, 'r' || r, 'Recipe ' || r, 1
      from generate_series(0, ${workspaces - 1}) w, generate_series(0, ${recipesEach}) r;
    insert into recipe_versions (recipe_id, version, workspace_id, definition, hash)
      select id, 1, workspace_id, '{"name": "Digest", "steps": [{"id": "a", "kind": "http", "when": "previous == null || true",
        "request": {"method": "GET", "url": "http://nothing.test"}}]}', 'x' from workflow_recipes;
    insert into schedules (id, workspace_id, recipe_id, name, interval_s, anchor_at, timezone, misfire, overlap, dst,
        accounted_until, next_slot_at, next_fire_at)
      select ${scheduleOf('w', 's')}, ${workspaceOf('w')}, ${recipeOf('w', `s % ${recipesEach}`)}, 's' || s, 3600, now(), 'UTC',
        '{"policy": "run_once"}', case s % 4 when 0 then 'skip' else 'allow' end, '{"gap": "after", "overlap": "first"}', now() - interval '1 minute',
        now() + t.ahead, now() + t.ahead
      from generate_series(0, ${workspaces - 1}) w, generate_series(0, ${schedulesEach - 1}) s,
        lateral (select (w * 7919 + s * 104729) % 3600 as x) dice,
        lateral (select interval '1 second' * case when x < 2 then -1 else 7200 + x end as ahead) t;`)
  const indexes = await dropIndexes(client, ['runs', 'run_steps', 'run_events', 'schedule_slots'])
  await client.unsafe(`
    insert into runs (id, workspace_id, recipe_id, recipe_version, state, trigger, schedule_id, slot_at, state_key,
      idempotency_key, request_hash, input, output, error, rev, last_seq, fence, lease_owner, lease_until, usage, created_at,
      started_at, finished_at, parent_run_id)
    select bench_run(n), ${workspaceOf('w')}, ${recipeOf('w', `case when s is null then r else s % ${recipesEach} end`)}, 1, state,
      case when s is null then '{"kind": "api", "request_id": "0192c1c8"}'::jsonb
        else jsonb_build_object('kind', 'schedule', 'schedule_id', ${scheduleOf('w', 's')}, 'slot_at', bench_at(n)) end,
      case when s is not null then ${scheduleOf('w', 's')} end,
      case when s is not null then bench_at(n) end,
      case when s is not null then (${scheduleOf('w', 's')})::text when v > 0.95 then 'k' || floor(v * 1000) end,
      case when s is null and n > ${runs} * 0.989 and v > 0.5 then 'key-' || n end,
      case when s is null and n > ${runs} * 0.989 and v > 0.5 then md5(n::text) end,
      '{"topic": "quarterly figures", "depth": 3}',
      case when state = 'succeeded' then '{"text": "The figures of the quarter are in line with the plan."}'::jsonb end,
      case when state in ('failed', 'timed_out') then '{"kind": "http", "detail": "The server answered 503."}'::jsonb end,
      case state when 'queued' then 0 else 3 end, case state when 'queued' then 1 else 9 end,
      case state when 'queued' then 0 else 1 end,
      case state when 'running' then 'worker-1' end,
      case state when 'running' then now() + interval '1 hour' * (u2 - 0.01) end,
      '{"cost_usd": "0.0123", "model_calls": 2, "input_tokens": 1200, "output_tokens": 340}',
      bench_at(n),
      case when state <> 'queued' then bench_at(n) + interval '1 second' * u2 end,
      case when state in ('succeeded', 'failed', 'canceled', 'timed_out') then bench_at(n) + interval '1 minute' * u2 end,
      case when u2 < 0.01 and n > 1 then bench_run(n - 1) end
    from (
      select n, w, r, v, u2, case when x < 0.2 then s end as s,
        case when n > ${runs - newest} then case when n % 2 = 0 then 'queued' else 'running' end
          when u < 0.0005 then 'waiting' when u < 0.0006 then 'paused' when u < 0.0306 then 'failed'
          when u < 0.0376 then 'canceled' when u < 0.0406 then 'timed_out' else 'succeeded' end as state
      from (
        select n, floor(${workspaces} * power(random(), 4))::integer as w, floor(${recipesEach} * power(random(), 3))::integer as r,
          floor(${schedulesEach} * power(random(), 2))::integer as s, random() as u, random() as u2, random() as v, random() as x
        from generate_series(1::bigint, ${runs}) n offset 0
      ) dice
    ) d;
    insert into run_steps (run_id, path, parent, ordinal, step_id, kind, status, attempts, output, started_at, finished_at)
      select bench_run(n), step, '', ascii(step) - 97, step, 'http', 'succeeded', 1, '{"status": 200, "body": {"ok": true}}', bench_at(n), bench_at(n)
      from generate_series(floor(${runs * (1 - withSteps)})::bigint + 1, ${runs - newest}) n, unnest('{a,b,c}'::text[]) step;
    insert into run_events (run_id, seq, type, data, created_at)
      select bench_run(n), seq, case seq when 1 then 'execution.queued' when 9 then 'execution.succeeded' else 'step.succeeded' end,
        '{"path": "a", "step": "a", "kind": "http"}', bench_at(n)
      from generate_series(floor(${runs * (1 - withSteps)})::bigint + 1, ${runs - newest}) n, generate_series(1, 9) seq;
    insert into schedule_slots (schedule_id, slot_at, workspace_id, status, run_id, fired_at, created_at)
      select schedule_id, slot_at, workspace_id, 'fired', id, created_at, created_at from runs where schedule_id is not null;
    insert into schedule_slots (schedule_id, slot_at, workspace_id, status, reason, created_at)
      select schedule_id, slot_at + interval '1 millisecond', workspace_id, 'missed', 'grace', created_at
      from runs where schedule_id is not null and random() < 0.005;
    insert into run_queue (run_id, workspace_id, ready_at) select id, workspace_id, created_at from runs where state = 'queued';
    insert into waits (run_id, path, workspace_id, wake_at)
      select id, 'a', workspace_id, now() + interval '7 days' * (random() - 0.01) from runs where state = 'waiting';
    insert into idempotency_keys (workspace_id, operation, key, fingerprint, owner, lease_until, answer, created_at)
      select ${workspaceOf(`n % ${workspaces}`)}, 'createWebhook', 'key-' || n, md5(n::text), gen_random_uuid(), now(), '{}',
        now() - interval '24 hours' * n / ${runs / 100} from generate_series(1, ${runs / 100}) n;
    insert into schedules (id, workspace_id, recipe_id, name, interval_s, anchor_at, timezone, misfire, overlap, dst)
      values (${scheduleOf('0', '4000')}, ${workspaceOf('0')}, ${recipeOf('0', String(recipesEach))}, 'rare', 86400, now(), 'UTC',
        '{"policy": "run_once"}', 'allow', '{"gap": "after", "overlap": "first"}');
    insert into schedule_slots (schedule_id, slot_at, workspace_id, status)
      select ${scheduleOf('0', '4000')}, now() - interval '40 days' * n, ${workspaceOf('0')}, 'skipped' from generate_series(1, 2) n;`)
  for (const definition of indexes) await client.unsafe(definition)
  // Behind the indexes: one that is built over rows that were changed serves no transaction that is older than it.
  await client.unsafe(`update runs set recipe_id = ${recipeOf('0', String(recipesEach))} where id in (
      select id from runs where workspace_id = ${workspaceOf('0')} and schedule_id is null and created_at < now() - interval '40 days' limit 3)`)
  await client.unsafe('reset session_replication_role; reset synchronous_commit')
  await client.unsafe('vacuum (analyze)')
  const [first] =
    await client.unsafe(`select ${workspaceOf('0')} as workspace, ${workspaceOf(String(workspaces - 1))} as quiet,
    ${recipeOf('0', '0')} as recipe, ${recipeOf('0', String(recipesEach))} as rare_recipe, ${scheduleOf('0', '0')} as schedule,
    ${scheduleOf('0', '4000')} as rare_schedule, (pg_database_size(current_database()) / 1000000)::integer as megabytes`)
  const [run] = await client.unsafe(
    `select id from runs where workspace_id = '${first!['workspace']}' and state = 'succeeded' order by created_at desc limit 1`,
  )
  const rows: Record<string, number> = {}
  for (const table of tables) {
    const [row] = await client.unsafe(`select count(*)::integer as n from ${table}`)
    rows[table] = row!['n']
  }
  return {
    workspace: first!['workspace'],
    quietWorkspace: first!['quiet'],
    recipe: first!['recipe'],
    rareRecipe: first!['rare_recipe'],
    schedule: first!['schedule'],
    rareSchedule: first!['rare_schedule'],
    run: run!['id'],
    rows,
    megabytes: first!['megabytes'],
  }
}

/** Those that belong to no constraint. Answers what makes them again. */
async function dropIndexes(client: Sql, of: string[]): Promise<string[]> {
  const rows = await client`
    select i.indexname as name, i.indexdef as definition from pg_indexes i
    where i.schemaname = 'public' and i.tablename = any(${of})
      and not exists (select from pg_constraint c where c.conname = i.indexname)`
  for (const row of rows) await client.unsafe(`drop index ${row['name']}`)
  return rows.map((row) => row['definition'])
}
