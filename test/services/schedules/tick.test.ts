import { sql } from 'kysely'
import { afterAll, beforeEach, expect, test } from 'vitest'
import { jsonb } from '../../../src/db/json.ts'
import { createSchedule } from '../../../src/services/schedules.service.ts'
import { fireDue, selectDue } from '../../../src/services/schedules/due-pass.ts'
import { selectReleased } from '../../../src/services/schedules/pending-pass.ts'
import { SlotWatch } from '../../../src/services/schedules/slot-watch.ts'
import { schedulesTick } from '../../../src/services/schedules/tick.ts'
import {
  aRecipe,
  aSchedule,
  aVersion,
  copySchedule,
  createWorkbench,
  ledger,
  runsOf,
  story,
  tickAll,
} from './fixture.ts'

const bench = await createWorkbench()
const { db, ctx, setClock } = bench
afterAll(() => bench.close())
// Each test jumps in time: what an earlier one left would be far behind.
beforeEach(() => db.deleteFrom('schedules').execute())

test('a slot fires at its time, not before it, and becomes a queued run of the latest recipe version', async () => {
  await setClock('2031-03-03T08:59:30Z')
  const recipeId = await aRecipe(bench, { settings: { timeout: '1h' } })
  const { id } = await createSchedule(ctx, {
    recipe_id: recipeId,
    name: 'morning',
    cron: '0 9 * * *',
    input_data: { feed: 'news' },
  })
  await tickAll(bench)
  expect(await story(bench, id)).toEqual([])

  await aVersion(bench, recipeId, 2, { settings: { timeout: '30m' } })
  await setClock('2031-03-03T09:00:00Z')
  await tickAll(bench)
  expect(await story(bench, id)).toEqual(['09:00:00 fired'])
  const [run, ...others] = await runsOf(bench, id)
  expect(others).toEqual([])
  expect(run).toMatchObject({
    recipe_id: recipeId,
    recipe_version: 2,
    workspace_id: ctx.actor.workspaceId,
    state: 'queued',
    input: { feed: 'news' },
    state_key: id,
    slot_at: new Date('2031-03-03T09:00:00Z'),
    timeout_ms: 1_800_000,
    trigger: {
      kind: 'schedule',
      schedule_id: id,
      schedule_name: 'morning',
      slot_at: '2031-03-03T09:00:00.000Z',
    },
  })
  const [slot] = await ledger(bench, id)
  expect(slot?.run_id).toBe(run?.id)
  expect(slot!.fired_at!.getTime()).toBeGreaterThanOrEqual(slot!.slot_at.getTime())
  const queued = await db.selectFrom('run_queue').selectAll().where('run_id', '=', run!.id).execute()
  expect(queued).toHaveLength(1)
})

test('after the commit each new run is announced', async () => {
  await setClock('2031-03-04T10:00:30Z')
  const id = await aSchedule(bench, { cron: '* * * * *' })
  await setClock('2031-03-04T10:01:00Z')
  const woken: string[] = []
  await schedulesTick({ ...ctx, wake: { ...ctx.wake, runReady: (runId) => woken.push(runId) } })
  const [run] = await runsOf(bench, id)
  expect(woken).toContain(run!.id)
})

test('three tickers at once over many due schedules fire each slot once', async () => {
  await setClock('2031-04-01T00:00:30Z')
  const id = await aSchedule(bench, { cron: '* * * * *', overlap: 'allow' })
  await copySchedule(bench, id, 249)
  for (const instant of ['2031-04-01T00:01:00Z', '2031-04-01T00:02:00Z']) {
    await setClock(instant)
    await Promise.all([tickAll(bench), tickAll(bench), tickAll(bench)])
  }
  const slots = await db
    .selectFrom('schedule_slots')
    .selectAll()
    .where('slot_at', '>', new Date('2031-04-01T00:00:00Z'))
    .execute()
  expect(slots).toHaveLength(500)
  expect(new Set(slots.map((slot) => slot.status))).toEqual(new Set(['fired']))
  const runs = await db
    .selectFrom('runs')
    .select(['id'])
    .where('slot_at', '>', new Date('2031-04-01T00:00:00Z'))
    .execute()
  expect(new Set(runs.map((run) => run.id))).toEqual(new Set(slots.map((slot) => slot.run_id)))
  expect(runs).toHaveLength(500)
})

test('a clock that goes back fires nothing twice and goes on where it was', async () => {
  await setClock('2031-05-01T12:00:30Z')
  const id = await aSchedule(bench, { cron: '* * * * *', overlap: 'allow' })
  await setClock('2031-05-01T12:02:00Z')
  await tickAll(bench)
  await setClock('2031-05-01T11:00:00Z')
  await tickAll(bench)
  await setClock('2031-05-01T12:01:00Z')
  await tickAll(bench)
  expect(await story(bench, id)).toEqual(['12:01:00 fired late', '12:02:00 fired'])
  await setClock('2031-05-01T12:03:00Z')
  await tickAll(bench)
  expect(await story(bench, id)).toEqual(['12:01:00 fired late', '12:02:00 fired', '12:03:00 fired'])
})

test('a slot fires no earlier than its jitter says, which is the same on every process', async () => {
  await setClock('2031-06-01T08:59:59Z')
  const id = await aSchedule(bench, { cron: '0 9 * * *', jitter: '30m', grace: 0 })
  const row = await db.selectFrom('schedules').selectAll().where('id', '=', id).executeTakeFirstOrThrow()
  const fireAt = row.next_fire_at!.getTime()
  expect(fireAt).toBeGreaterThan(Date.parse('2031-06-01T09:00:00Z'))
  expect(fireAt).toBeLessThanOrEqual(Date.parse('2031-06-01T09:30:00Z'))
  await setClock(new Date(fireAt - 1).toISOString())
  await tickAll(bench)
  expect(await story(bench, id)).toEqual([])
  await setClock(new Date(fireAt).toISOString())
  await tickAll(bench)
  expect(await ledger(bench, id)).toMatchObject([{ slot_at: new Date('2031-06-01T09:00:00Z') }])
})

test('a schedule whose slots cannot be computed is parked with its fault, and the others of the batch fire', async () => {
  await setClock('2031-07-01T12:00:30Z')
  const broken = await aSchedule(bench, { cron: '* * * * *' })
  const sound = await aSchedule(bench, { cron: '* * * * *' })
  await db.updateTable('schedules').set({ timezone: 'Mars/Olympus' }).where('id', '=', broken).execute()
  await setClock('2031-07-01T12:01:00Z')
  await tickAll(bench)
  expect(await story(bench, sound)).toEqual(['12:01:00 fired'])
  const row = await db.selectFrom('schedules').selectAll().where('id', '=', broken).executeTakeFirstOrThrow()
  expect(row).toMatchObject({ next_fire_at: null, fault: expect.stringContaining('time zone') })
  expect(await story(bench, broken)).toEqual([])
})

test('a schedule of a deleted recipe is parked and starts nothing', async () => {
  await setClock('2031-07-02T12:00:30Z')
  const recipeId = await aRecipe(bench)
  const { id } = await createSchedule(ctx, { recipe_id: recipeId, cron: '* * * * *' })
  await db
    .updateTable('workflow_recipes')
    .set({ deleted_at: sql`app_now()` })
    .where('id', '=', recipeId)
    .execute()
  await setClock('2031-07-02T12:01:00Z')
  await tickAll(bench)
  const row = await db.selectFrom('schedules').selectAll().where('id', '=', id).executeTakeFirstOrThrow()
  expect(row.fault).toBe('The recipe no longer exists.')
  expect(await runsOf(bench, id)).toEqual([])
})

test('the report says how long nothing is due', async () => {
  await setClock('2031-08-01T12:00:00Z')
  await aSchedule(bench, { cron: '0 * * * *' })
  const report = await schedulesTick(ctx)
  expect(report).toEqual({ done: 0, more: false, nextInMs: 3_600_000 })
})

test('finding what is due reads the partial index alone', async () => {
  await setClock('2031-09-01T12:00:30Z')
  const id = await aSchedule(bench, { cron: '* * * * *' })
  await copySchedule(bench, id, 3000, true)
  await sql`analyze schedules`.execute(db)
  const plan = await db.transaction().execute(async (tx) => {
    const { rows } = await sql<Record<string, string>>`explain ${selectDue(200)}`.execute(tx)
    return rows.map((row) => Object.values(row)[0]).join('\n')
  })
  expect(plan).toContain('schedules_due')
  expect(plan).not.toMatch(/Seq Scan on schedules/)
  expect(plan).not.toMatch(/Sort/)
})

test('finding held-back slots whose runs have ended reads partial indexes alone', async () => {
  await setClock('2031-09-02T12:00:30Z')
  const id = await aSchedule(bench, { cron: '* * * * *', overlap: 'queue' })
  await setClock('2031-09-02T12:02:00Z')
  await tickAll(bench)
  await sql`
    insert into schedule_slots (schedule_id, slot_at, workspace_id, status)
    select schedule_id, slot_at - n * interval '1 minute', workspace_id, 'fired'
    from schedule_slots, generate_series(1, 5000) n where schedule_id = ${id} and status = 'fired'`.execute(db)
  await sql`
    insert into runs (id, workspace_id, recipe_id, recipe_version, state, trigger, schedule_id, input)
    select gen_random_uuid(), workspace_id, recipe_id, recipe_version, 'succeeded', trigger, schedule_id, input
    from runs, generate_series(1, 5000) n where schedule_id = ${id}`.execute(db)
  await sql`analyze`.execute(db)
  const plan = await db.transaction().execute(async (tx) => {
    const { rows } = await sql<Record<string, string>>`explain ${selectReleased(200)}`.execute(tx)
    return rows.map((row) => Object.values(row)[0]).join('\n')
  })
  expect(plan).toContain('schedule_slots_pending')
  expect(plan).toContain('runs_open_by_schedule')
  expect(plan).not.toMatch(/Seq Scan on (schedule_slots|runs)/)
})

test('a value of the input that jsonb cannot hold as it is does not stop the batch', async () => {
  await setClock('2031-10-01T12:00:30Z')
  const id = await aSchedule(bench, { cron: '* * * * *', input_data: { odd: 'a\u0000b\ud800' } })
  await db
    .updateTable('schedules')
    .set({ input: jsonb({ odd: 'x\u0000' }) })
    .where('id', '=', id)
    .execute()
  await setClock('2031-10-01T12:01:00Z')
  await tickAll(bench)
  expect(await story(bench, id)).toEqual(['12:01:00 fired'])
})

test('what one schedule meets holds up no other, and it is tried again later', async () => {
  await setClock('2032-03-03T08:59:30Z')
  const [bad, good] = [await aSchedule(bench, { cron: '* * * * *' }), await aSchedule(bench, { cron: '* * * * *' })]
  await sql
    .raw(
      `create function refuse_one() returns trigger language plpgsql as $$
         begin
           if new.schedule_id = '${bad}' then raise exception 'no'; end if;
           return new;
         end $$`,
    )
    .execute(db)
  await sql`create trigger refuse_one before insert on runs for each row execute function refuse_one()`.execute(db)
  await setClock('2032-03-03T09:00:00Z')
  await tickAll(bench)
  expect(await story(bench, good)).toEqual(['09:00:00 fired'])
  expect(await story(bench, bad)).toEqual([])
  await sql`drop trigger refuse_one on runs`.execute(db)
  await setClock('2032-03-03T09:01:00Z')
  await tickAll(bench)
  expect(await story(bench, bad)).toEqual(['09:00:00 fired late', '09:01:00 skipped overlap'])
})

test('schedules whose recipes limit their starts take a bounded share of a pass, the others all of theirs', async () => {
  await setClock('2033-03-03T08:00:00Z')
  const settings = { concurrency: { limit: 1, key: '{{ trigger.slot_at }}', on_conflict: 'skip' } }
  const recipeId = await aRecipe(bench, { settings })
  const late = { cron: '* * * * *', overlap: 'allow' as const, misfire: { catch_up: 300 } }
  const { id } = await createSchedule(ctx, { recipe_id: recipeId, name: 'first', ...late })
  const other = await aSchedule(bench, late)
  await setClock('2033-03-03T13:00:00Z')
  const watch = new SlotWatch(ctx)
  const pass = await db.transaction().execute((tx) => fireDue(tx, 10, watch))
  expect(pass.hasMore).toBe(true)
  expect([(await runsOf(bench, id)).length, (await runsOf(bench, other)).length]).toEqual([250, 300])
  await tickAll(bench)
  expect(await runsOf(bench, id)).toHaveLength(300)
})
