import fc from 'fast-check'
import { afterAll, expect, test } from 'vitest'
import { nextSlots } from '../../../src/lib/slots/slots.ts'
import { AppError } from '../../../src/lib/errors.ts'
import {
  backfillsTick,
  createBackfill,
  pauseSchedule,
  resumeSchedule,
} from '../../../src/services/schedules.service.ts'
import { decide, type DueSchedule, type LedgerEntry } from '../../../src/services/schedules/decide.ts'
import { specOf } from '../../../src/services/schedules/timing.ts'
import type { OverlapPolicy } from '../../../src/services/schedules/types.ts'
import { aSchedule, createWorkbench, endRuns, ledger, runsOf, tickAll } from './fixture.ts'

const bench = await createWorkbench()
afterAll(() => bench.close())

const anOverlap = fc.constantFrom<OverlapPolicy>('allow', 'skip', 'queue', 'cancel_previous')
const start = Date.parse('2026-10-24T22:00:00Z')

/** As far as the window is one that can be filled. */
async function backfill(id: string, from: number, lengthMs: number) {
  const window = { from: new Date(from).toISOString(), to: new Date(from + lengthMs).toISOString() }
  try {
    await createBackfill(bench.ctx, { id, ...window, concurrency: 3 })
  } catch (error) {
    if (error instanceof AppError) return
    throw error
  }
  for (let pass = 0; pass < 4; pass++) {
    await Promise.all([backfillsTick(bench.ctx), backfillsTick(bench.ctx)])
    await endRuns(bench, id)
  }
}

/** The slots that ledger rows stand for. A range must hold exactly as many slots as it says. */
function slotsOf(rows: { at: Date; to: Date | null; count: number }[], all: Date[]): number[] {
  const times = all.map((slot) => slot.getTime())
  const indexes = new Map(times.map((time, index) => [time, index]))
  return rows.flatMap(({ at, to, count }) => {
    const first = indexes.get(at.getTime()) ?? -1
    const last = indexes.get((to ?? at).getTime()) ?? -1
    expect([first >= 0, last - first + 1]).toEqual([true, count])
    return times.slice(first, last + 1)
  })
}

test('whatever the policies and delays, each slot up to the watermark has exactly one verdict', () => {
  fc.assert(
    fc.property(
      fc.record({
        cron: fc.constantFrom('*/5 * * * * *', '* * * * *', '*/7 1-3 * * *', '30 2 * * *'),
        jitterSeconds: fc.constantFrom(0, 0, 3),
        graceMs: fc.constantFrom(0, 60_000, 600_000),
        misfire: fc.constantFrom(
          { policy: 'skip' as const },
          { policy: 'run_once' as const },
          { policy: 'catch_up' as const, max: 3 },
        ),
        overlap: anOverlap,
      }),
      fc.array(fc.tuple(fc.integer({ min: 0, max: 2 * 3_600_000 }), fc.boolean()), { minLength: 1, maxLength: 6 }),
      ({ cron, ...policies }, passes) => {
        const spec = { cron, zone: 'Europe/Berlin', dst: { gap: 'shift' as const, fold: 'both' as const } }
        const schedule: DueSchedule = { id: 'a schedule', spec, ...policies, accountedUntil: new Date(start) }
        const entries: LedgerEntry[] = []
        let now = start
        let pendingSlot: Date | null = null
        for (const [delay, isRunOpen] of passes) {
          now += delay
          for (let more = true; more;) {
            const decision = decide(schedule, { now: new Date(now), isRunOpen, pendingSlot })
            expect(decision.accountedUntil >= schedule.accountedUntil).toBe(true)
            expect(decision.entries.reduce((sum, entry) => sum + entry.count, 0)).toBeLessThanOrEqual(1000)
            if (decision.supersedesPending) pendingSlot = null
            pendingSlot = decision.entries.find((entry) => entry.status === 'pending')?.slotAt ?? pendingSlot
            entries.push(...decision.entries)
            schedule.accountedUntil = decision.accountedUntil
            more = decision.hasMore
          }
        }
        const all = nextSlots({ ...spec, end: new Date(now + 1) }, new Date(start), 40_000)
        const accounted = all.filter((slot) => slot <= schedule.accountedUntil).map((slot) => slot.getTime())
        const told = slotsOf(
          entries.map((entry) => ({ at: entry.slotAt, to: entry.slotTo, count: entry.count })),
          all,
        )
        expect(told).toEqual(accounted)
        // What is not accounted for is not due yet.
        expect(now - (all.at(accounted.length)?.getTime() ?? now)).toBeLessThanOrEqual(policies.jitterSeconds * 1000)
      },
    ),
    { numRuns: 50 },
  )
})

test('in the database as well: ticks, pauses, run ends, backfills and clocks in any order leave no slot without its row, and none with two', async () => {
  const aStep = fc.oneof(
    fc.record({ kind: fc.constant('wait' as const), seconds: fc.integer({ min: -600, max: 7200 }) }),
    fc.record({ kind: fc.constantFrom('pause' as const, 'resume' as const, 'end' as const) }),
    fc.record({
      kind: fc.constant('backfill' as const),
      // The slot at the start itself is older than the schedule: a backfill may fire it, and the watermark begins behind it.
      from: fc.integer({ min: 1, max: 7200 }),
      length: fc.integer({ min: 300, max: 7200 }),
    }),
  )
  await fc.assert(
    fc.asyncProperty(
      anOverlap,
      fc.constantFrom('skip' as const, 'run_once' as const, { catch_up: 2 }),
      fc.array(aStep, { minLength: 3, maxLength: 10 }),
      async (overlap, misfire, steps) => {
        await bench.db.deleteFrom('schedules').execute()
        let now = start
        await bench.setClock(new Date(now).toISOString())
        const id = await aSchedule(bench, { cron: '*/5 * * * *', timezone: 'Europe/Berlin', overlap, misfire })
        const made = await bench.db.selectFrom('schedules').selectAll().where('id', '=', id).executeTakeFirstOrThrow()
        for (const step of [...steps, { kind: 'resume' as const }]) {
          if (step.kind === 'wait') {
            now += step.seconds * 1000
            await bench.setClock(new Date(now).toISOString())
            await Promise.all([tickAll(bench), tickAll(bench)])
          } else if (step.kind === 'pause') await pauseSchedule(bench.ctx, { id })
          else if (step.kind === 'resume') await resumeSchedule(bench.ctx, { id })
          else if (step.kind === 'backfill') await backfill(id, start + step.from * 1000, step.length * 1000)
          else await endRuns(bench, id)
        }
        await tickAll(bench)
        const row = await bench.db.selectFrom('schedules').selectAll().where('id', '=', id).executeTakeFirstOrThrow()
        const rows = await ledger(bench, id)
        const all = nextSlots(
          { ...specOf(made), end: new Date(row.accounted_until.getTime() + 1) },
          made.accounted_until,
          20_000,
        )
        const told = slotsOf(
          rows.map((slot) => ({ at: slot.slot_at, to: slot.slot_to, count: slot.count })),
          all,
        )
        expect(told).toEqual(all.map((slot) => slot.getTime()))
        const fired = rows.filter((slot) => slot.status === 'fired')
        expect((await runsOf(bench, id)).map((run) => run.id).toSorted()).toEqual(
          fired.map((slot) => slot.run_id).toSorted(),
        )
        for (const slot of rows) expect(slot.status === 'fired' || slot.reason !== null).toBe(true)
      },
    ),
    { numRuns: 10 },
  )
}, 60_000)
