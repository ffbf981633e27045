import type { Sql } from 'postgres'
import { uuidv7 } from '../src/lib/ids.ts'
import { schedulesTick } from '../src/services/schedules/tick.ts'
import { runtimeOn, withDatabase, type BenchDatabase } from './database.ts'
import { median, milliseconds, report } from './result.ts'

// What many schedules cost: a tick that finds nothing due against one raw probe of the index on the due time; and firing
// those that are due against raw SQL that writes the same rows: slots, runs, queue, first events, next times.
// Usage: node bench/schedules.ts [rounds] [schedules] [due]
const rounds = Number(process.argv[2] ?? 5)
const schedules = Number(process.argv[3] ?? 1_000_000)
const due = Number(process.argv[4] ?? 10_000)
const batch = 500

await withDatabase(async (database) => {
  await fill(database)
  await idleTick(database)
  await firing(database)
})

/** All of one recipe: cron expressions in three zones, and intervals; the next time of each lies an hour ahead. */
async function fill({ client, workspaceId }: BenchDatabase): Promise<void> {
  const recipe = uuidv7()
  const definition = JSON.stringify({ name: 'Nothing', steps: [{ id: 'a', kind: 'transform', value: 1 }] })
  await client`insert into workflow_recipes (id, workspace_id, slug, name, version) values (${recipe}, ${workspaceId}, 'nothing', 'Nothing', 1)`
  await client`insert into recipe_versions (recipe_id, version, workspace_id, definition, hash)
    values (${recipe}, 1, ${workspaceId}, ${definition}::text::jsonb, 'x')`
  await client`
    insert into schedules (id, workspace_id, recipe_id, name, cron, interval_s, anchor_at, timezone, misfire, overlap,
      dst, accounted_until, next_slot_at, next_fire_at)
    select gen_random_uuid(), ${workspaceId}, ${recipe}, 's' || n,
      case when n % 4 > 0 then (array['*/5 * * * *', '0 * * * *', '15 9 * * 1-5'])[n % 4] end,
      case when n % 4 = 0 then 300 end, now() - interval '1 day',
      (array['UTC', 'Europe/Berlin', 'America/New_York'])[n % 3 + 1],
      '{"policy": "run_once"}', 'allow', '{"gap": "after", "overlap": "first"}', now(), now() + interval '1 hour', now() + interval '1 hour'
    from generate_series(1, ${schedules}) n`
  await client`vacuum analyze schedules`
}

async function idleTick({ db, client }: BenchDatabase): Promise<void> {
  const runtime = runtimeOn(db)
  const probe = async () => {
    await client`select id from schedules where next_fire_at <= now() order by next_fire_at limit 200`
  }
  const tick = async () => {
    const { done } = await schedulesTick(runtime)
    if (done > 0) throw new Error('A tick that should be idle was not.')
  }
  const times = 200
  const samples: { tick: number; probe: number }[] = []
  await elapsed(probe, 50)
  await elapsed(tick, 50)
  for (let round = 0; round < rounds; round++) {
    samples.push({ probe: (await elapsed(probe, times)) / times, tick: (await elapsed(tick, times)) / times })
  }
  report({
    name: `Idle tick over ${schedules.toLocaleString('en-US')} schedules`,
    against: 'one raw probe of the same index',
    ratio: median(samples.map((sample) => sample.tick / sample.probe)),
    goal: { atMost: 5 },
    rounds: samples.map((sample) => sample.tick / sample.probe),
    figures: {
      tick: milliseconds(median(samples.map((sample) => sample.tick))),
      probe: milliseconds(median(samples.map((sample) => sample.probe))),
    },
  })
}

async function firing(database: BenchDatabase): Promise<void> {
  const { db, client, another } = database
  const other = another()
  const samples: { ours: number; raw: number; two: number }[] = []
  for (let round = 0; round <= rounds; round++) {
    await makeDue(client)
    const raw = await elapsed(() => fireRaw(client), 1)
    await countFired(client)
    await makeDue(client)
    const ours = await elapsed(() => fireAll([db]), 1)
    await countFired(client)
    await makeDue(client)
    const two = await elapsed(() => fireAll([db, other.db]), 1)
    await countFired(client)
    // The first round warms both up.
    if (round > 0) samples.push({ ours, raw, two })
  }
  report({
    name: `Firing ${due.toLocaleString('en-US')} due schedules of ${schedules.toLocaleString('en-US')}`,
    against: 'raw SQL that writes the same rows',
    ratio: median(samples.map((sample) => sample.ours / sample.raw)),
    goal: { atMost: 2.5 },
    rounds: samples.map((sample) => sample.ours / sample.raw),
    figures: {
      'one claimer': milliseconds(median(samples.map((sample) => sample.ours))),
      'two claimers, none twice': milliseconds(median(samples.map((sample) => sample.two))),
      'raw SQL': milliseconds(median(samples.map((sample) => sample.raw))),
    },
  })
}

async function makeDue(client: Sql): Promise<void> {
  // Cascading: whatever refers to a run is empty here, and a table more would not have to be named.
  await client`truncate runs, run_events, run_steps, run_calls, schedule_slots cascade`
  await client`update schedules set next_fire_at = now() + interval '1 hour', next_slot_at = now() + interval '1 hour',
    accounted_until = now() where next_fire_at < now() + interval '59 minutes'`
  // One slot of each is past: the watermark stands before it, and the next lies ahead.
  await client`
    update schedules set accounted_until = date_trunc('hour', now()) - interval '1 minute',
      next_slot_at = date_trunc('hour', now()), next_fire_at = now() - interval '1 second',
      cron = case when interval_s is null then '0 * * * *' end, grace_s = 7200,
      interval_s = case when interval_s is not null then 3600 end, anchor_at = date_trunc('hour', now()) - interval '1 day'
    where id in (select id from schedules order by id limit ${due})`
  await client`vacuum analyze schedules`
}

async function countFired(client: Sql): Promise<void> {
  const [row] = await client`select count(*)::int as runs, count(distinct schedule_id)::int as schedules from runs`
  if (row?.['runs'] !== due || row['schedules'] !== due) {
    throw new Error(`${row?.['runs']} runs of ${row?.['schedules']} schedules began, not ${due}.`)
  }
}

async function fireAll(databases: BenchDatabase['db'][]): Promise<void> {
  await Promise.all(
    databases.map(async (db) => {
      const runtime = runtimeOn(db)
      let more = true
      while (more) ({ more } = await schedulesTick(runtime))
    }),
  )
}

/** The rows of a fired slot and no decision: the next time is the same for all. */
async function fireRaw(client: Sql): Promise<void> {
  for (let left = due; left > 0; left -= batch) {
    await client.begin(async (tx) => {
      const rows = await tx`select id, workspace_id, recipe_id, name, input from schedules
        where next_fire_at <= now() order by next_fire_at limit ${batch} for update skip locked`
      const values = JSON.stringify(rows.map((row) => ({ ...row, run_id: uuidv7() })))
      await tx`
        with due as materialized (
          select * from jsonb_to_recordset(${values}::text::jsonb) as d(
            id uuid, run_id uuid, workspace_id uuid, recipe_id uuid, name text, input jsonb)
        ), slots as (
          insert into schedule_slots (schedule_id, slot_at, workspace_id, status, late, run_id, fired_at)
          select id, date_trunc('hour', now()), workspace_id, 'fired', true, run_id, now() from due
        ), started as (
          insert into runs (id, workspace_id, recipe_id, recipe_version, state, trigger, schedule_id, slot_at, input, last_seq)
          select run_id, workspace_id, recipe_id, 1, 'queued', '{"kind": "schedule"}', id, date_trunc('hour', now()), input, 1 from due
        ), queued as (
          insert into run_queue (run_id, workspace_id) select run_id, workspace_id from due
        ), logged as (
          insert into run_events (run_id, seq, type, data) select run_id, 1, 'execution.queued', '{}' from due
        )
        update schedules s set accounted_until = date_trunc('hour', now()), next_slot_at = now() + interval '1 hour',
          next_fire_at = now() + interval '1 hour'
        from due where s.id = due.id`
    })
  }
}

async function elapsed(work: () => Promise<void>, times: number): Promise<number> {
  const startMs = performance.now()
  for (let n = 0; n < times; n++) await work()
  return performance.now() - startMs
}
