import { expect } from 'vitest'
import { expectWholeLedger } from '../../test/chaos/support/ledger.ts'
import { expectTrueCounters, expectWholeEffects, expectWholeRuns } from '../../test/support/invariants.ts'
import type { Place } from './place.ts'
import type { Traffic } from './traffic.ts'
import { until } from './trials.ts'

const drainMs = 180_000
/** Of each recipe that calls; the others call nobody. */
const effectSteps: Record<string, string[]> = { effects: ['a', 'b'], long: ['a', 'b'] }

/** Waits for the end of every run, and throws where one of them is lost, doubled or not whole. */
export async function judgeRuns({ db, effects }: Place, traffic: Traffic, scheduleId: string) {
  const begunMs = performance.now()
  const open = async () => {
    const { n } = await db
      .selectFrom('runs')
      .select((eb) => eb.fn.countAll<string>().as('n'))
      .where('finished_at', 'is', null)
      .executeTakeFirstOrThrow()
    return Number(n)
  }
  await until(async () => (await open()) === 0, 'the end of every run', drainMs)
  const drainedMs = performance.now() - begunMs

  const runs = await db
    .selectFrom('runs')
    .leftJoin('workflow_recipes', 'workflow_recipes.id', 'runs.recipe_id')
    .select(['runs.id', 'runs.state', 'runs.schedule_id', 'workflow_recipes.slug'])
    .execute()
  expect(runs.filter((run) => run.state !== 'succeeded')).toEqual([])
  // Every start was sent until it was answered, so there is no run but those that were acknowledged.
  const started = new Set(runs.filter((run) => run.schedule_id === null).map((run) => run.id))
  expect(
    [...traffic.acknowledged].filter((id) => !started.has(id)),
    'runs that were lost',
  ).toEqual([])
  expect(
    [...started].filter((id) => !traffic.acknowledged.has(id)),
    'runs that nobody was told of',
  ).toEqual([])
  await expectWholeRuns(
    db,
    runs.map((run) => run.id),
  )
  await expectTrueCounters(db)
  // Nobody was killed and the leases outlast the outage: nothing was done twice.
  const expected = runs.flatMap((run) => (effectSteps[run.slug ?? ''] ?? []).map((step) => `${run.id}/1/${step}/0.0`))
  expect(expectWholeEffects(effects.effects, expected)).toBe(0)
  expect(effects.withoutKey()).toBe(0)
  const slots = await expectWholeLedger(db, scheduleId)
  return { runs: runs.length, effects: effects.effects.size, slots, drainedMs }
}
