import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ServiceContext } from '../../src/context.ts'
import { backfillsTick, createBackfill, createSchedule, getBackfill } from '../../src/services/schedules.service.ts'

import { FaultyLine } from '../support/faulty-database.ts'
import { expectTrueCounters } from '../support/invariants.ts'
import {
  aRecipe,
  aSchedule,
  createWorkbench,
  endRuns,
  ledger,
  runsOf,
  story,
  tickAll,
  type Workbench,
} from '../services/schedules/fixture.ts'
import { atEveryStatement, isCut, metAt, onLine } from './support/every-statement.ts'

// Ticks that meet a fault at any statement, commits among them: between a slot and its run, a run and the watermark, a commit
// and the news of it. Another process ticks behind them, and what is there is what one undisturbed tick would have left.

let bench: Workbench
let db: Workbench['db']
let ctx: ServiceContext
beforeAll(async () => {
  bench = await createWorkbench()
  ;({ db, ctx } = bench)
})
afterAll(() => bench.close())

const day = '2033-03-03T'
const alerts = { url: 'https://alerts.test/', on: ['schedule.slot_missed', 'schedule.slot_late'] as never }

/** One schedule of each kind of fate. All but the first and the last have a run of 09:01 that is open. */
async function schedules(): Promise<Record<string, string>> {
  await db.deleteFrom('schedules').execute()
  await bench.setClock(`${day}09:00:30Z`)
  const cron = '* * * * *'
  const limited = await aRecipe(bench, { settings: { concurrency: { limit: 1, on_conflict: 'skip' } } })
  const gone = await aRecipe(bench)
  const ids = {
    far: await aSchedule(bench, { cron, overlap: 'allow', misfire: { catch_up: 2 }, grace: '60s', alerts }),
    skip: await aSchedule(bench, { cron, overlap: 'skip' }),
    queue: await aSchedule(bench, { cron, overlap: 'queue' }),
    cancel: await aSchedule(bench, { cron, overlap: 'cancel_previous' }),
    limited: (await createSchedule(ctx, { recipe_id: limited, cron, overlap: 'allow' })).id,
    orphan: (await createSchedule(ctx, { recipe_id: gone, cron, alerts })).id,
  }
  await bench.setClock(`${day}09:01:00Z`)
  const behind = [ids.far, ids.orphan]
  await db.updateTable('schedules').set({ next_fire_at: null }).where('id', 'in', behind).execute()
  await tickAll(bench)
  await db
    .updateTable('schedules')
    .set({ next_fire_at: new Date(`${day}09:01:00Z`) })
    .where('id', 'in', behind)
    .execute()
  await sql`update workflow_recipes set deleted_at = app_now() where id = ${gone}`.execute(db)
  return ids
}

/** The first minutes of it, and the next, in which what was held back may start. */
const minutes: [instant: string, before: (ids: Record<string, string>) => Promise<void>][] = [
  [`${day}09:20:00Z`, async () => {}],
  [`${day}09:20:30Z`, (ids) => endRuns(bench, ids['queue']!)],
]

async function live(tick: (ids: Record<string, string>) => Promise<void>): Promise<Record<string, string>> {
  const ids = await schedules()
  for (const [instant, before] of minutes) {
    await bench.setClock(instant)
    await before(ids)
    await tick(ids)
  }
  return ids
}

/** Of each schedule all that may not depend on who has ticked and how often. */
async function figures(ids: Record<string, string>): Promise<Record<string, unknown>> {
  const of = async (id: string) => {
    const slots = await ledger(bench, id)
    const runs = await runsOf(bench, id)
    // A slot that has a run has that one, and each run is of one slot.
    expect(slots.flatMap(({ run_id }) => run_id ?? []).toSorted()).toEqual(runs.map((run) => run.id).toSorted())
    const ready = await db
      .selectFrom('run_queue')
      .select('run_id')
      .where('run_id', 'in', runs.map((run) => run.id).concat('00000000-0000-0000-0000-000000000000'))
      .execute()
    // Those that have succeeded were ended by the test, which leaves their places.
    const over = new Set(runs.flatMap((run) => (run.state === 'succeeded' ? run.id : [])))
    expect(ready.flatMap((row) => (over.has(row.run_id) ? [] : row.run_id)).toSorted()).toEqual(
      runs.flatMap((run) => (run.state === 'queued' ? run.id : [])).toSorted(),
    )
    const schedule = await db.selectFrom('schedules').selectAll().where('id', '=', id).executeTakeFirstOrThrow()
    const events = await db.selectFrom('schedule_events').selectAll().where('schedule_id', '=', id).execute()
    return {
      story: await story(bench, id),
      runs: runs.map(({ slot_at, state }) => `${slot_at!.toISOString().slice(11, 19)} ${state}`),
      at: [schedule.accounted_until, schedule.next_slot_at, schedule.next_fire_at, schedule.fault],
      events: events
        .map(({ type, delivery, data }) => `${type} ${delivery} ${JSON.stringify({ ...data, schedule: null })}`)
        .toSorted(),
    }
  }
  return Object.fromEntries(await Promise.all(Object.entries(ids).map(async ([name, id]) => [name, await of(id)])))
}

/** Ticks on the line, again where that has failed; where its process is gone another ticks. */
async function tickOn(line: FaultyLine, tick: (ctx: ServiceContext) => Promise<unknown>): Promise<void> {
  for (let turn = 0; turn < 2 && !(await isCut(line)); turn++)
    if (await onLine(line, () => tick({ ...ctx, db: line.db } as ServiceContext))) return
  await tick(ctx)
}

describe('a tick of schedules', () => {
  let undisturbed: Record<string, unknown>
  beforeAll(async () => {
    undisturbed = await figures(await live(() => tickAll(bench)))
  })

  test('undisturbed has a slot of every fate', () => {
    const all = JSON.stringify(undisturbed)
    for (const word of [
      '×',
      'misfire',
      'catch_up',
      'overlap',
      'superseded',
      'concurrency',
      'canceled',
      'late',
      'no longer',
    ])
      expect(all).toContain(word)
    expect(all).not.toContain('pending overlap')
  })

  test.each(metAt)('fires every slot once, whichever statement is %s', { timeout: 120_000 }, async (kind) => {
    const statements = await atEveryStatement(db, kind, async (line) => {
      const ids = await live(() => tickOn(line, (on) => tickAll({ ...bench, ctx: on })))
      // Whoever comes now finds nothing to do.
      await tickAll(bench)
      expect(await figures(ids)).toEqual(undisturbed)
      await expectTrueCounters(db)
    })
    expect(statements).toBeGreaterThan(15)
  })
})

describe('a backfill', () => {
  async function backfill(line: FaultyLine) {
    await db.deleteFrom('schedules').execute()
    await bench.setClock(`${day}10:30:00Z`)
    const id = await aSchedule(bench, { cron: '0 * * * *' })
    const made = await createBackfill(ctx, { id, from: `${day}06:00:00Z`, to: `${day}09:00:00Z`, concurrency: 2 })
    const isOver = async () => (await getBackfill(ctx, { id, backfill: made.id })).status !== 'running'
    for (let pass = 0; pass < 6 && !(await isOver()); pass++) {
      await tickOn(line, backfillsTick)
      await endRuns(bench, id)
    }
    const { status, fired, passed_over, remaining, executions } = await getBackfill(ctx, { id, backfill: made.id })
    expect({ status, fired, passed_over, remaining, executions }).toEqual({
      status: 'finished',
      fired: 3,
      passed_over: 0,
      remaining: 0,
      executions: { open: 0, succeeded: 3, failed: 0, canceled: 0 },
    })
    expect(await story(bench, id)).toEqual([
      '06:00:00 fired backfill',
      '07:00:00 fired backfill',
      '08:00:00 fired backfill',
    ])
    const slots = await ledger(bench, id)
    expect((await runsOf(bench, id)).map((run) => run.id)).toEqual(slots.map((slot) => slot.run_id))
  }

  test.each(metAt)(
    'fires every slot of its window once, whichever statement is %s',
    { timeout: 120_000 },
    async (kind) => {
      expect(await atEveryStatement(db, kind, backfill)).toBeGreaterThan(15)
    },
  )
})
