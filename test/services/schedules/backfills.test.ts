import { sql } from 'kysely'
import { afterAll, beforeEach, expect, test } from 'vitest'
import {
  backfillsTick,
  cancelBackfill,
  createBackfill,
  getBackfill,
  pauseSchedule,
  resumeSchedule,
  updateSchedule,
} from '../../../src/services/schedules.service.ts'
import { aSchedule, childOf, createWorkbench, ledger, runsOf, stateOf, story, tickAll } from './fixture.ts'

const bench = await createWorkbench()
const { db, ctx, setClock } = bench
afterAll(() => bench.close())
beforeEach(() => db.deleteFrom('schedules').execute())

const backfillOf = (id: string, from: string, to: string, concurrency = 50) =>
  createBackfill(ctx, { id, from, to, concurrency })

/** Ends every open run, as workers would, until the backfill is at its end. */
async function workOff(id: string, backfill: string) {
  for (let pass = 0; pass < 200; pass++) {
    await backfillsTick(ctx)
    const { status } = await getBackfill(ctx, { id, backfill })
    if (status !== 'running' && status !== 'canceling') return
    await db
      .updateTable('runs')
      .set({ state: 'succeeded', finished_at: new Date() })
      .where('schedule_id', '=', id)
      .where('state', '=', 'queued')
      .execute()
  }
  throw new Error('The backfill never came to an end.')
}

test('it fires the slots of its window that never fired, oldest first, as runs of their own kind', async () => {
  await setClock('2032-01-05T10:30:00Z')
  const id = await aSchedule(bench, { cron: '0 * * * *', overlap: 'allow' })
  const made = await backfillOf(id, '2032-01-05T06:00:00Z', '2032-01-05T10:00:00Z')
  expect(made).toMatchObject({ status: 'running', slots: 4, fired: 0, remaining: 4 })
  expect(await story(bench, id)).toEqual([])

  await workOff(id, made.id)
  expect(await story(bench, id)).toEqual([
    '06:00:00 fired backfill',
    '07:00:00 fired backfill',
    '08:00:00 fired backfill',
    '09:00:00 fired backfill',
  ])
  const runs = await runsOf(bench, id)
  expect(runs.map((run) => run.slot_at?.toISOString().slice(11, 13))).toEqual(['06', '07', '08', '09'])
  expect(runs.map((run) => run.id)).toEqual(runs.map((run) => run.id).toSorted())
  expect(runs[0]).toMatchObject({
    state_key: `backfill:${made.id}`,
    trigger: { kind: 'backfill', backfill_id: made.id, schedule_id: id, slot_at: '2032-01-05T06:00:00.000Z' },
  })
  expect(await getBackfill(ctx, { id, backfill: made.id })).toMatchObject({
    status: 'finished',
    fired: 4,
    passed_over: 0,
    remaining: 0,
    executions: { open: 0, succeeded: 4, failed: 0, canceled: 0 },
    finished_at: expect.any(String),
  })
})

test('no more of its runs are open than its concurrency says, and each that ends makes room for the next', async () => {
  await setClock('2032-01-06T10:30:00Z')
  const id = await aSchedule(bench, { cron: '0 * * * *' })
  const made = await backfillOf(id, '2032-01-06T00:00:00Z', '2032-01-06T10:00:00Z', 2)
  for (let pass = 0; pass < 3; pass++) await backfillsTick(ctx)
  const open = await runsOf(bench, id)
  expect(open).toHaveLength(2)
  await db.updateTable('runs').set({ state: 'failed' }).where('id', '=', open[0]!.id).execute()
  await backfillsTick(ctx)
  expect(await runsOf(bench, id)).toHaveLength(3)
  expect(await getBackfill(ctx, { id, backfill: made.id })).toMatchObject({
    fired: 3,
    remaining: 7,
    executions: { open: 2, failed: 1 },
  })
})

test('slots that were missed, skipped or never there fire; slots that have fired or are held back never do again', async () => {
  await setClock('2032-01-07T06:30:00Z')
  const id = await aSchedule(bench, { cron: '0 * * * *', overlap: 'queue', misfire: { catch_up: 2 } })
  await setClock('2032-01-07T11:30:00Z')
  await tickAll(bench)
  expect(await story(bench, id)).toEqual([
    '07:00:00 missed misfire',
    '08:00:00 missed misfire',
    '09:00:00 missed misfire',
    '10:00:00 fired catch_up late',
    '11:00:00 pending overlap',
  ])
  const made = await backfillOf(id, '2032-01-07T05:00:00Z', '2032-01-07T11:30:00Z')
  await workOff(id, made.id)
  expect(await story(bench, id)).toEqual([
    '05:00:00 fired backfill',
    '06:00:00 fired backfill',
    '07:00:00 fired backfill',
    '08:00:00 fired backfill',
    '09:00:00 fired backfill',
    '10:00:00 fired catch_up late',
    '11:00:00 pending overlap',
  ])
  expect(await getBackfill(ctx, { id, backfill: made.id })).toMatchObject({ slots: 7, fired: 5, passed_over: 2 })

  const again = await backfillOf(id, '2032-01-07T05:00:00Z', '2032-01-07T10:30:00Z')
  await workOff(id, again.id)
  expect(await getBackfill(ctx, { id, backfill: again.id })).toMatchObject({ fired: 0, passed_over: 6 })
  expect(await runsOf(bench, id)).toHaveLength(6)
})

test('slots leave the range that stood for them: what is left of it is still counted slot by slot', async () => {
  await setClock('2032-01-08T00:30:00Z')
  const id = await aSchedule(bench, { cron: '*/10 * * * *', overlap: 'allow' })
  await pauseSchedule(ctx, { id })
  await setClock('2032-01-08T12:05:00Z')
  await resumeSchedule(ctx, { id })
  expect(await story(bench, id)).toEqual(['00:40:00..12:00:00 ×69 skipped paused'])

  const made = await backfillOf(id, '2032-01-08T06:00:00Z', '2032-01-08T06:30:00Z', 2)
  await workOff(id, made.id)
  expect(await story(bench, id)).toEqual([
    '00:40:00..05:50:00 ×32 skipped paused',
    '06:00:00 fired backfill',
    '06:10:00 fired backfill',
    '06:20:00 fired backfill',
    '06:30:00..12:00:00 ×34 skipped paused',
  ])
  const edges = await backfillOf(id, '2032-01-08T00:40:00Z', '2032-01-08T00:50:00Z')
  await workOff(id, edges.id)
  const last = await backfillOf(id, '2032-01-08T11:50:00Z', '2032-01-08T12:01:00Z')
  await workOff(id, last.id)
  const rows = await ledger(bench, id)
  expect(rows.reduce((sum, row) => sum + row.count, 0)).toBe(69)
  expect(rows.filter((row) => row.status === 'fired')).toHaveLength(6)
})

test('a range of other times, from before the schedule was changed, stays as it is', async () => {
  await setClock('2032-01-09T00:30:00Z')
  const id = await aSchedule(bench, { cron: '*/10 * * * *', overlap: 'allow' })
  await pauseSchedule(ctx, { id })
  await setClock('2032-01-09T06:05:00Z')
  await resumeSchedule(ctx, { id })
  await updateSchedule(ctx, { id, cron: '*/20 * * * *' })
  const made = await backfillOf(id, '2032-01-09T00:40:00Z', '2032-01-09T01:30:00Z')
  await workOff(id, made.id)
  // 00:40 is where the range begins: its key is taken.
  expect(await story(bench, id)).toEqual([
    '00:40:00..06:00:00 ×33 skipped paused',
    '01:00:00 fired backfill',
    '01:20:00 fired backfill',
  ])
  expect(await getBackfill(ctx, { id, backfill: made.id })).toMatchObject({ slots: 3, fired: 2, passed_over: 1 })
})

test('times that were changed and changed back lose no stretch of the ledger', async () => {
  await setClock('2032-02-09T00:30:00Z')
  const id = await aSchedule(bench, { cron: '*/10 * * * *', overlap: 'allow' })
  await pauseSchedule(ctx, { id })
  await setClock('2032-02-09T06:05:00Z')
  await resumeSchedule(ctx, { id })
  await updateSchedule(ctx, { id, cron: '*/20 * * * *' })
  await workOff(id, (await backfillOf(id, '2032-02-09T01:00:00Z', '2032-02-09T01:30:00Z')).id)
  await updateSchedule(ctx, { id, cron: '*/10 * * * *' })
  await workOff(id, (await backfillOf(id, '2032-02-09T01:00:00Z', '2032-02-09T01:30:00Z')).id)
  expect(await story(bench, id)).toEqual([
    '00:40:00..06:00:00 ×33 skipped paused',
    '01:00:00 fired backfill',
    '01:10:00 fired backfill',
    '01:20:00 fired backfill',
  ])
})

test('three processes at once work it off once', async () => {
  await setClock('2032-01-10T12:00:30Z')
  const id = await aSchedule(bench, { cron: '* * * * *', overlap: 'allow' })
  const made = await backfillOf(id, '2032-01-10T11:00:00Z', '2032-01-10T12:00:00Z', 7)
  for (let pass = 0; pass < 5; pass++) await Promise.all([backfillsTick(ctx), backfillsTick(ctx), backfillsTick(ctx)])
  expect(await runsOf(bench, id)).toHaveLength(7)
  await workOff(id, made.id)
  const runs = await runsOf(bench, id)
  expect(new Set(runs.map((run) => run.slot_at?.getTime())).size).toBe(60)
  expect(runs).toHaveLength(60)
})

test('its runs do not hold up the slots of the schedule, whatever the overlap policy', async () => {
  await setClock('2032-01-11T10:30:00Z')
  const id = await aSchedule(bench, { cron: '0 * * * *', overlap: 'skip' })
  await backfillOf(id, '2032-01-11T08:00:00Z', '2032-01-11T10:00:00Z')
  await backfillsTick(ctx)
  await setClock('2032-01-11T11:00:00Z')
  await tickAll(bench)
  expect((await story(bench, id)).at(-1)).toBe('11:00:00 fired')
})

test('a slot whose ledger row is gone but whose run is still there does not run twice', async () => {
  await setClock('2032-01-12T10:00:00Z')
  const id = await aSchedule(bench, { cron: '0 * * * *', overlap: 'allow' })
  const made = await backfillOf(id, '2032-01-12T08:00:00Z', '2032-01-12T10:00:00Z')
  await workOff(id, made.id)
  await db.deleteFrom('schedule_slots').where('schedule_id', '=', id).execute()
  const again = await backfillOf(id, '2032-01-12T08:00:00Z', '2032-01-12T10:00:00Z')
  await workOff(id, again.id)
  expect(await runsOf(bench, id)).toHaveLength(2)
  expect(await getBackfill(ctx, { id, backfill: again.id })).toMatchObject({ fired: 0, passed_over: 2 })
})

test('one that cannot be advanced holds up no other, and comes last next time', async () => {
  await setClock('2032-03-01T10:00:00Z')
  const broken = await aSchedule(bench, { cron: '0 * * * *' })
  const made = await backfillOf(broken, '2032-03-01T08:00:00Z', '2032-03-01T10:00:00Z')
  await setClock('2032-03-01T10:00:01Z')
  const sound = await aSchedule(bench, { cron: '0 * * * *' })
  await backfillOf(sound, '2032-03-01T08:00:00Z', '2032-03-01T10:00:00Z')
  await setClock('2032-03-01T10:00:02Z')
  await sql
    .raw(
      `create function refuse_slot() returns trigger language plpgsql as $$
        begin raise exception 'refused'; end $$;`,
    )
    .execute(db)
  await sql
    .raw(
      `create trigger refuse_slot before insert on schedule_slots for each row
       when (new.schedule_id = '${broken}') execute function refuse_slot()`,
    )
    .execute(db)
  try {
    await expect(backfillsTick(ctx)).rejects.toThrow('refused')
  } finally {
    await sql.raw('drop trigger refuse_slot on schedule_slots').execute(db)
  }
  expect(await runsOf(bench, sound)).toHaveLength(2)
  expect(await runsOf(bench, broken)).toEqual([])
  const { checked_at } = await db
    .selectFrom('schedule_backfills')
    .select('checked_at')
    .where('id', '=', made.id)
    .executeTakeFirstOrThrow()
  expect(checked_at).toEqual(new Date('2032-03-01T10:00:02Z'))
  await backfillsTick(ctx)
  expect(await runsOf(bench, broken)).toHaveLength(2)
})

test('canceled, it fires nothing more; its open runs go on, or are canceled with it', async () => {
  await setClock('2032-01-13T10:00:00Z')
  const id = await aSchedule(bench, { cron: '0 * * * *', overlap: 'allow' })
  const first = await backfillOf(id, '2032-01-13T00:00:00Z', '2032-01-13T10:00:00Z', 2)
  await backfillsTick(ctx)
  expect(await cancelBackfill(ctx, { id, backfill: first.id, cancelExecutions: false })).toMatchObject({
    status: 'canceling',
    executions: { open: 2 },
  })
  await workOff(id, first.id)
  expect(await getBackfill(ctx, { id, backfill: first.id })).toMatchObject({
    status: 'canceled',
    fired: 2,
    remaining: 8,
    executions: { open: 0, succeeded: 2 },
  })

  const second = await backfillOf(id, '2032-01-13T00:00:00Z', '2032-01-13T10:00:00Z', 3)
  await backfillsTick(ctx)
  const parent = (await runsOf(bench, id)).find((run) => run.state === 'queued')
  const child = await childOf(bench, parent!.id)
  await cancelBackfill(ctx, { id, backfill: second.id, cancelExecutions: true })
  expect(await stateOf(bench, child)).toBe('canceled')
  await backfillsTick(ctx)
  expect(await getBackfill(ctx, { id, backfill: second.id })).toMatchObject({
    status: 'canceled',
    executions: { open: 0, canceled: 3 },
  })
  const states = (await runsOf(bench, id)).map((run) => run.state)
  expect(states.toSorted()).toEqual(['canceled', 'canceled', 'canceled', 'succeeded', 'succeeded'])
})

test('it waits while its schedule is paused', async () => {
  await setClock('2032-01-14T10:00:00Z')
  const id = await aSchedule(bench, { cron: '0 * * * *' })
  const made = await backfillOf(id, '2032-01-14T08:00:00Z', '2032-01-14T10:00:00Z')
  await pauseSchedule(ctx, { id })
  await backfillsTick(ctx)
  expect(await runsOf(bench, id)).toEqual([])
  await resumeSchedule(ctx, { id })
  await workOff(id, made.id)
  expect(await runsOf(bench, id)).toHaveLength(2)
})

test.each([
  ['one that is not over', '2032-01-15T08:00:00Z', '2032-01-15T11:00:00Z', '/to'],
  ['one that ends before it begins', '2032-01-15T08:00:00Z', '2032-01-15T07:00:00Z', '/from'],
  ['one without a slot', '2032-01-15T08:10:00Z', '2032-01-15T08:50:00Z', '/from'],
  ['one of more than 10,000 slots', '2030-01-01T00:00:00Z', '2032-01-15T08:00:00Z', '/from'],
  ['one of more than ten years', '2001-01-01T00:00:00Z', '2032-01-15T08:00:00Z', '/from'],
])('a window is refused: %s', async (_what, from, to, pointer) => {
  await setClock('2032-01-15T10:00:00Z')
  const id = await aSchedule(bench, { cron: '0 * * * *' })
  await expect(backfillOf(id, from, to)).rejects.toMatchObject({ kind: 'invalid', errors: [{ pointer }] })
})

test('slots of a pause that is not over are refused until the schedule is resumed', async () => {
  await setClock('2032-01-16T06:30:00Z')
  const id = await aSchedule(bench, { cron: '0 * * * *' })
  await pauseSchedule(ctx, { id })
  await setClock('2032-01-16T10:30:00Z')
  await expect(backfillOf(id, '2032-01-16T05:00:00Z', '2032-01-16T10:00:00Z')).rejects.toMatchObject({
    errors: [{ pointer: '/to' }],
  })
  expect(await backfillOf(id, '2032-01-16T05:00:00Z', '2032-01-16T06:30:00Z')).toMatchObject({ slots: 2 })
})

test('one at a time for a schedule', async () => {
  await setClock('2032-01-17T10:00:00Z')
  const id = await aSchedule(bench, { cron: '0 * * * *' })
  await backfillOf(id, '2032-01-17T08:00:00Z', '2032-01-17T10:00:00Z')
  await expect(backfillOf(id, '2032-01-17T05:00:00Z', '2032-01-17T08:00:00Z')).rejects.toMatchObject({
    kind: 'conflict',
  })
})

test('one whose recipe is gone fails and says so', async () => {
  await setClock('2032-01-18T10:00:00Z')
  const id = await aSchedule(bench, { cron: '0 * * * *' })
  const made = await backfillOf(id, '2032-01-18T08:00:00Z', '2032-01-18T10:00:00Z')
  await db.updateTable('workflow_recipes').set({ deleted_at: new Date() }).execute()
  await backfillsTick(ctx)
  expect(await getBackfill(ctx, { id, backfill: made.id })).toMatchObject({
    status: 'failed',
    fault: 'The recipe no longer exists.',
    fired: 0,
  })
})
