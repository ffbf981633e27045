import { afterAll, beforeEach, expect, test } from 'vitest'
import { decide, type DueSchedule } from '../../../src/services/schedules/decide.ts'
import { firePendingSlots, insertLedgerRows } from '../../../src/services/schedules/ledger.ts'
import { specOf } from '../../../src/services/schedules/timing.ts'
import { aSchedule, createWorkbench, ledger, runsOf, story, tickAll } from './fixture.ts'

const bench = await createWorkbench()
const { db, ctx, setClock } = bench
afterAll(() => bench.close())
beforeEach(() => db.deleteFrom('schedules').execute())

const slot = (scheduleId: string, at: string) => ({
  scheduleId,
  workspaceId: ctx.actor.workspaceId,
  slotAt: new Date(at),
  status: 'skipped' as const,
  reason: 'edited',
  late: false,
  slotTo: null,
  count: 1,
  runId: null,
})

test('a slot that is in the ledger already stays as it is and starts nothing, and the next is fired', async () => {
  await setClock('2033-06-01T09:00:30Z')
  const id = await aSchedule(bench, { cron: '* * * * *', overlap: 'allow' })
  await insertLedgerRows(db, [slot(id, '2033-06-01T09:01:00Z')])
  await setClock('2033-06-01T09:02:00Z')
  await tickAll(bench)
  expect(await story(bench, id)).toEqual(['09:01:00 skipped edited', '09:02:00 fired'])
  const [, fired] = await ledger(bench, id)
  expect((await runsOf(bench, id)).map((run) => run.id)).toEqual([fired!.run_id])
})

test('only a slot that is held back is released: what has become of another stays', async () => {
  await setClock('2033-06-02T09:00:30Z')
  const id = await aSchedule(bench, { cron: '* * * * *' })
  await insertLedgerRows(db, [slot(id, '2033-06-02T09:01:00Z')])
  const release = { scheduleId: id, slotAt: new Date('2033-06-02T09:01:00Z'), runId: crypto.randomUUID(), late: false }
  expect(await firePendingSlots(db, [release])).toEqual(new Set())
  expect(await story(bench, id)).toEqual(['09:01:00 skipped edited'])
})

test.each(['queue', 'skip', 'cancel_previous'] as const)(
  'a slot does not go before the one that is held back, though nothing runs any more (%s)',
  async (overlap) => {
    await setClock('2033-06-03T09:00:30Z')
    const id = await aSchedule(bench, { cron: '* * * * *', overlap })
    const row = await db.selectFrom('schedules').selectAll().where('id', '=', id).executeTakeFirstOrThrow()
    const schedule: DueSchedule = {
      id,
      spec: specOf(row),
      graceMs: 120_000,
      jitterSeconds: 0,
      misfire: { policy: 'run_once' },
      overlap,
      accountedUntil: new Date('2033-06-03T09:01:00Z'),
    }
    const pendingSlot = new Date('2033-06-03T09:01:00Z')
    const { entries } = decide(schedule, { now: new Date('2033-06-03T09:02:00Z'), isRunOpen: false, pendingSlot })
    expect(entries.map(({ status }) => status)).toEqual([
      { queue: 'coalesced', skip: 'skipped', cancel_previous: 'pending' }[overlap],
    ])
  },
)
