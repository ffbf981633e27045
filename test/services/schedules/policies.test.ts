import { afterAll, beforeEach, expect, test } from 'vitest'
import type { ScheduleSettings } from '../../../src/services/schedules/settings.ts'
import { pauseSchedule, resumeSchedule, updateSchedule } from '../../../src/services/schedules.service.ts'
import { schedulesTick } from '../../../src/services/schedules/tick.ts'
import { aSchedule, childOf, createWorkbench, endRuns, ledger, runsOf, stateOf, story, tickAll } from './fixture.ts'

const bench = await createWorkbench()
const { db, ctx, setClock } = bench
afterAll(() => bench.close())
beforeEach(() => db.deleteFrom('schedules').execute())

/** Made at 12:00:30, looked at only at 12:07:00 (or as told): with two minutes of grace, 12:05 to 12:07 are in time. */
async function afterAnOutage(settings: ScheduleSettings, until = '2031-01-06T12:07:00Z') {
  await setClock('2031-01-06T12:00:30Z')
  const id = await aSchedule(bench, { cron: '* * * * *', overlap: 'allow', ...settings })
  await setClock(until)
  await tickAll(bench)
  return id
}
const inTime = ['12:05:00 fired late', '12:06:00 fired late', '12:07:00 fired']

test('grace: a slot that is late fires, marked; misfire skip leaves out what is later than that', async () => {
  const id = await afterAnOutage({ misfire: 'skip', grace: 150 })
  expect(await story(bench, id)).toEqual([
    '12:01:00 missed misfire',
    '12:02:00 missed misfire',
    '12:03:00 missed misfire',
    '12:04:00 missed misfire',
    ...inTime,
  ])
  expect(await runsOf(bench, id)).toHaveLength(3)
})

test('misfire run_once: the latest of the slots beyond grace fires, once', async () => {
  const id = await afterAnOutage({ misfire: 'run_once', grace: 150 })
  expect(await story(bench, id)).toEqual([
    '12:01:00 missed misfire',
    '12:02:00 missed misfire',
    '12:03:00 missed misfire',
    '12:04:00 fired run_once late',
    ...inTime,
  ])
})

test('misfire catch_up: the latest n fire, oldest first', async () => {
  const id = await afterAnOutage({ misfire: { catch_up: 2 }, grace: 150 })
  expect(await story(bench, id)).toEqual([
    '12:01:00 missed misfire',
    '12:02:00 missed misfire',
    '12:03:00 fired catch_up late',
    '12:04:00 fired catch_up late',
    ...inTime,
  ])
  const runs = await db.selectFrom('runs').select(['slot_at']).where('schedule_id', '=', id).orderBy('id').execute()
  expect(runs.map((run) => run.slot_at!.toISOString().slice(11, 16))).toEqual([
    '12:03',
    '12:04',
    '12:05',
    '12:06',
    '12:07',
  ])
})

test('with no grace, a slot that a tick finds a second late is a misfire', async () => {
  await setClock('2031-01-06T12:00:30Z')
  const id = await aSchedule(bench, { cron: '* * * * *', grace: 0, misfire: 'skip' })
  await setClock('2031-01-06T12:01:01Z')
  await tickAll(bench)
  expect(await story(bench, id)).toEqual(['12:01:00 missed misfire'])
})

test('a long outage takes a thousand slots a pass, becomes ranges, and run_once still fires one slot alone', async () => {
  await setClock('2031-01-06T12:00:00Z')
  const id = await aSchedule(bench, { interval: 1, grace: 0, misfire: 'run_once', overlap: 'allow' })
  await setClock('2031-01-06T12:41:40Z')
  const pass = await schedulesTick(ctx)
  expect(pass.more).toBe(false)
  const rows = await ledger(bench, id)
  expect(Math.max(...rows.map((row) => row.count))).toBeLessThanOrEqual(1000)
  expect(rows.length).toBeLessThanOrEqual(5)
  const firedLate = rows.filter((row) => row.reason === 'run_once')
  expect(firedLate).toHaveLength(1)
  expect(rows.reduce((sum, row) => sum + row.count, 0)).toBe(2500)
  expect(await runsOf(bench, id)).toHaveLength(rows.filter((row) => row.status === 'fired').length)
})

test('catch_up fires its number of slots also where they span two passes', async () => {
  for (const outage of [1000, 1001, 1002, 1003, 1004, 2100]) {
    await setClock('2031-01-06T12:00:00Z')
    const id = await aSchedule(bench, { interval: 1, grace: 0, misfire: { catch_up: 3 }, overlap: 'allow' })
    await setClock(new Date(Date.parse('2031-01-06T12:00:00Z') + outage * 1000).toISOString())
    await tickAll(bench)
    const fired = (await ledger(bench, id)).filter((row) => row.status === 'fired')
    const secondsAgo = fired.map((row) => outage - (row.slot_at.getTime() - Date.parse('2031-01-06T12:00:00Z')) / 1000)
    expect(secondsAgo).toEqual([3, 2, 1, 0])
  }
})

test('overlap skip: while a run is open, slots are skipped with the reason', async () => {
  await setClock('2031-01-06T12:00:30Z')
  const id = await aSchedule(bench, { cron: '* * * * *' })
  await setClock('2031-01-06T12:01:00Z')
  await tickAll(bench)
  await setClock('2031-01-06T12:02:00Z')
  await tickAll(bench)
  await endRuns(bench, id)
  await setClock('2031-01-06T12:03:00Z')
  await tickAll(bench)
  expect(await story(bench, id)).toEqual(['12:01:00 fired', '12:02:00 skipped overlap', '12:03:00 fired'])
})

test('overlap looks at the runs of its own schedule alone', async () => {
  await setClock('2031-01-06T12:00:30Z')
  const one = await aSchedule(bench, { cron: '* * * * *' })
  await setClock('2031-01-06T12:01:00Z')
  await tickAll(bench)
  const other = await aSchedule(bench, { cron: '* * * * *' })
  await setClock('2031-01-06T12:02:00Z')
  await tickAll(bench)
  expect(await story(bench, one)).toEqual(['12:01:00 fired', '12:02:00 skipped overlap'])
  expect(await story(bench, other)).toEqual(['12:02:00 fired'])
})

test('overlap queue: one slot is kept and starts when the run has ended; later ones are coalesced', async () => {
  await setClock('2031-01-06T12:00:30Z')
  const id = await aSchedule(bench, { cron: '* * * * *', overlap: 'queue' })
  for (const minute of ['12:01', '12:02', '12:03']) {
    await setClock(`2031-01-06T${minute}:00Z`)
    await tickAll(bench)
  }
  expect(await story(bench, id)).toEqual(['12:01:00 fired', '12:02:00 pending overlap', '12:03:00 coalesced overlap'])
  await setClock('2031-01-06T12:03:20Z')
  await endRuns(bench, id)
  await Promise.all([tickAll(bench), tickAll(bench)])
  expect(await story(bench, id)).toEqual([
    '12:01:00 fired',
    '12:02:00 fired overlap late',
    '12:03:00 coalesced overlap',
  ])
  const runs = await runsOf(bench, id)
  expect(runs.map((run) => run.slot_at!.toISOString().slice(11, 16))).toEqual(['12:01', '12:02'])
  expect((await ledger(bench, id)).map((row) => row.run_id)).toEqual([runs[0]!.id, runs[1]!.id, null])
})

test('overlap cancel_previous: the open run is canceled, and the slot fires once it has ended', async () => {
  await setClock('2031-01-06T12:00:30Z')
  const id = await aSchedule(bench, { cron: '* * * * *', overlap: 'cancel_previous' })
  await setClock('2031-01-06T12:01:00Z')
  await tickAll(bench)
  const child = await childOf(bench, (await runsOf(bench, id))[0]!.id)
  await setClock('2031-01-06T12:02:00Z')
  // Nobody holds the first run, so it ends at once and the next may start in the same tick.
  await schedulesTick(ctx)
  expect(await stateOf(bench, child)).toBe('canceled')
  expect((await runsOf(bench, id)).map((run) => run.state)).toEqual(['canceled', 'queued'])
  expect(await story(bench, id)).toEqual(['12:01:00 fired', '12:02:00 fired overlap'])
})

test('overlap cancel_previous: a run that is held is told to end; until it has, the newest slot waits', async () => {
  await setClock('2031-01-06T12:00:30Z')
  const id = await aSchedule(bench, { cron: '* * * * *', overlap: 'cancel_previous' })
  await setClock('2031-01-06T12:01:00Z')
  await tickAll(bench)
  const [first] = await runsOf(bench, id)
  await db
    .updateTable('runs')
    .set({ state: 'running', lease_owner: 'a worker', lease_until: new Date('2031-01-06T12:30:00Z') })
    .where('id', '=', first!.id)
    .execute()
  const told: string[] = []
  const runtime = { ...ctx, wake: { ...ctx.wake, command: (runId: string) => told.push(runId) } }
  await setClock('2031-01-06T12:02:00Z')
  await schedulesTick(runtime)
  expect(told).toEqual([first!.id])
  await setClock('2031-01-06T12:03:00Z')
  await schedulesTick(runtime)
  expect(await story(bench, id)).toEqual([
    '12:01:00 fired',
    '12:02:00 coalesced superseded',
    '12:03:00 pending overlap',
  ])
  await endRuns(bench, id)
  await schedulesTick(runtime)
  expect((await story(bench, id)).at(-1)).toBe('12:03:00 fired overlap')
})

test('a pause fires nothing; on resume its slots are one range, and slots go on', async () => {
  await setClock('2031-01-06T12:00:30Z')
  const id = await aSchedule(bench, { cron: '* * * * *' })
  await pauseSchedule(ctx, { id })
  await setClock('2031-01-08T12:00:30Z')
  await tickAll(bench)
  expect(await story(bench, id)).toEqual([])
  await resumeSchedule(ctx, { id })
  await setClock('2031-01-08T12:01:00Z')
  await tickAll(bench)
  expect(await story(bench, id)).toEqual(['12:01:00..12:00:00 ×2880 skipped paused', '12:01:00 fired'])
})

test('a pause of a schedule of every second for a year is one range, and is counted exactly', async () => {
  await setClock('2031-01-01T00:00:00Z')
  const id = await aSchedule(bench, { cron: '* * * * * *', timezone: 'Europe/Berlin' })
  await pauseSchedule(ctx, { id })
  const [before] = await db.selectFrom('schedules').select('accounted_until').where('id', '=', id).execute()
  await setClock('2032-01-01T00:00:00Z')
  await resumeSchedule(ctx, { id })
  const rows = await ledger(bench, id)
  expect(rows).toHaveLength(1)
  const row = rows[0]!
  expect(row.count).toBe((row.slot_to!.getTime() - row.slot_at.getTime()) / 1000 + 1)
  expect(row.slot_at.getTime() - before!.accounted_until.getTime()).toBe(1000)
})

test('a slot held back does not start during a pause', async () => {
  await setClock('2031-01-06T12:00:30Z')
  const id = await aSchedule(bench, { cron: '* * * * *', overlap: 'queue' })
  await setClock('2031-01-06T12:02:00Z')
  await tickAll(bench)
  await pauseSchedule(ctx, { id })
  await endRuns(bench, id)
  await tickAll(bench)
  expect((await story(bench, id)).at(-1)).toBe('12:02:00 pending overlap')
  await resumeSchedule(ctx, { id })
  await tickAll(bench)
  expect((await story(bench, id)).at(-1)).toMatch(/^12:02:00 fired/)
})

test('new times begin now: old slots that have not fired are skipped, and none comes twice', async () => {
  await setClock('2031-01-06T12:00:30Z')
  const id = await aSchedule(bench, { cron: '* * * * *', overlap: 'allow' })
  await setClock('2031-01-06T12:02:30Z')
  await updateSchedule(ctx, { id, interval: 30, start_at: '2031-01-06T12:00:00Z' })
  await setClock('2031-01-06T12:03:30Z')
  await tickAll(bench)
  expect(await story(bench, id)).toEqual([
    '12:01:00..12:02:00 ×2 skipped edited',
    '12:03:00 fired late',
    '12:03:30 fired',
  ])
})

test('a slot held back is given up when the overlap policy no longer holds slots back', async () => {
  await setClock('2031-01-06T12:00:30Z')
  const id = await aSchedule(bench, { cron: '* * * * *', overlap: 'queue' })
  await setClock('2031-01-06T12:02:00Z')
  await tickAll(bench)
  await updateSchedule(ctx, { id, overlap: 'allow' })
  await setClock('2031-01-06T12:03:00Z')
  await tickAll(bench)
  expect(await story(bench, id)).toEqual(['12:01:00 fired late', '12:02:00 skipped edited', '12:03:00 fired'])
})

test('a change that leaves the times alone loses no slot', async () => {
  await setClock('2031-01-06T12:00:30Z')
  const id = await aSchedule(bench, { cron: '* * * * *' })
  await setClock('2031-01-06T12:01:10Z')
  await updateSchedule(ctx, { id, input_data: { changed: true }, dst: { gap: 'shift' }, timezone: 'UTC' })
  await tickAll(bench)
  expect(await story(bench, id)).toEqual(['12:01:00 fired late'])
  expect(await runsOf(bench, id)).toMatchObject([{ input: { changed: true } }])
})

test('a parked schedule goes on when its fault is mended, and what it missed is accounted for', async () => {
  await setClock('2031-01-06T12:00:30Z')
  const id = await aSchedule(bench, { cron: '* * * * *' })
  await db.updateTable('schedules').set({ timezone: 'Mars/Olympus' }).where('id', '=', id).execute()
  await setClock('2031-01-06T12:01:00Z')
  await tickAll(bench)
  await setClock('2031-01-06T12:03:30Z')
  // Zone data that has come back: the row is computable again.
  await db.updateTable('schedules').set({ timezone: 'UTC' }).where('id', '=', id).execute()
  expect(await resumeSchedule(ctx, { id })).toMatchObject({ status: 'active', fault: null })
  await setClock('2031-01-06T12:04:00Z')
  await tickAll(bench)
  expect(await story(bench, id)).toEqual(['12:01:00..12:03:00 ×3 skipped fault', '12:04:00 fired'])
})

test('no slot before start_at, none at or after end_at; then the schedule is finished', async () => {
  await setClock('2031-01-06T12:00:30Z')
  const id = await aSchedule(bench, {
    cron: '* * * * *',
    overlap: 'allow',
    grace: '1h',
    start_at: '2031-01-06T12:02:00Z',
    end_at: '2031-01-06T12:04:00Z',
  })
  await setClock('2031-01-06T12:10:00Z')
  await tickAll(bench)
  expect(await story(bench, id)).toEqual(['12:02:00 fired late', '12:03:00 fired late'])
  const row = await db.selectFrom('schedules').selectAll().where('id', '=', id).executeTakeFirstOrThrow()
  expect(row).toMatchObject({ next_slot_at: null, next_fire_at: null, fault: null })
})

test('a fixed time that the clocks leave out fires at the end of the gap; one that they repeat fires as the policy says', async () => {
  await setClock('2031-03-30T00:00:00Z')
  const shifted = await aSchedule(bench, { cron: '30 2 * * *', timezone: 'Europe/Berlin' })
  const skipped = await aSchedule(bench, { cron: '30 2 * * *', timezone: 'Europe/Berlin', dst: { gap: 'skip' } })
  await setClock('2031-03-30T01:00:00Z')
  await tickAll(bench)
  expect(await story(bench, shifted)).toEqual(['01:00:00 fired'])
  expect(await story(bench, skipped)).toEqual([])

  await setClock('2031-10-26T00:00:00Z')
  const once = await aSchedule(bench, { cron: '30 2 * * *', timezone: 'Europe/Berlin', overlap: 'allow' })
  const twice = await aSchedule(bench, {
    cron: '30 2 * * *',
    timezone: 'Europe/Berlin',
    overlap: 'allow',
    dst: { fold: 'both' },
  })
  for (const instant of ['2031-10-26T00:30:00Z', '2031-10-26T01:30:00Z']) {
    await setClock(instant)
    await tickAll(bench)
  }
  expect(await story(bench, once)).toEqual(['00:30:00 fired'])
  expect(await story(bench, twice)).toEqual(['00:30:00 fired', '01:30:00 fired'])
})
