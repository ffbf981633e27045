import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createRecipe } from '../../src/services/recipes.service.ts'
import { tellParents } from '../../src/services/runs/child-ends.ts'
import { cancelOrphans } from '../../src/services/runs/children.ts'
import { recoverRuns } from '../../src/services/runs/claim.ts'
import { passSlots, reconcileSlots } from '../../src/services/runs/concurrency/slots.ts'
import { isEnd } from '../../src/services/runs/states.ts'
import { StepError } from '../../src/services/runs/step-executor.ts'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { http, recipe } from '../support/engine.ts'
import type { FaultyLine } from '../support/faulty-database.ts'
import { expectTrueCounters, expectWholeRuns } from '../support/invariants.ts'
import { createLimitBench } from '../services/runs/support-limits.ts'
import { atEveryStatement, isCut, metAt, onLine } from './support/every-statement.ts'

// What one run leaves to another: a slot to the next in line, its end to its parent, its end to its children. The worker
// between the two meets a fault at any of its statements.

let database: TestDatabase
let db: TestDatabase['db']
let b: Awaited<ReturnType<typeof createLimitBench>>
beforeAll(async () => {
  database = await createTestDatabase()
  db = database.db
  b = await createLimitBench(database)
  b.script('bad', () => {
    throw new StepError('upstream', 'down', { retryable: false })
  })
  const child = (slug: string, steps: unknown[]) => createRecipe(b.ctx, { ...recipe(steps), name: slug, slug } as never)
  await child('works', [http('inner'), { id: 'seven', kind: 'transform', value: 7 }])
  await child('waits', [http('inner'), { id: 'hold', kind: 'wait', duration: '1d' }])
})
afterAll(() => database.close())

type Db = TestDatabase['db']

/** What a process does for runs besides advancing them. */
const duties = {
  passing: (on: Db) => passSlots(on, b.ctx),
  telling: (on: Db) => tellParents({ ...b.ctx, db: on }, { limit: 50 }),
  canceling: (on: Db) => cancelOrphans({ ...b.ctx, db: on }, 50),
}
type Duty = keyof typeof duties

async function tick(on: Db, worker: ReturnType<typeof b.worker>, own: Duty[]): Promise<void> {
  await recoverRuns(on, 50)
  for (const duty of own) await duties[duty](on)
  await worker.claim()
  await worker.idle()
}

/** The roots and what they have started, in the order of their ids. */
async function familyOf(roots: string[]) {
  return db
    .selectFrom('runs')
    .select(['id', 'state', 'output', 'parent_run_id'])
    .where((eb) => eb.or([eb('id', 'in', roots), eb('parent_run_id', 'in', roots)]))
    .orderBy('id')
    .execute()
}

/** Ticks on the line until all has ended or it is cut; then another process does, when the leases of the first are over. */
async function live(line: FaultyLine, roots: string[], ...own: Duty[]) {
  const isOver = async () => (await familyOf(roots)).every(({ state }) => isEnd(state))
  const first = b.worker('first', { db: line.db })
  for (let turn = 0; turn < 6 && !(await isOver()) && !(await isCut(line)); turn++) {
    await onLine(line, () => tick(line.db, first, own))
    await b.exact()
  }
  const second = b.worker('second')
  for (let turn = 1; turn <= 8 && !(await isOver()); turn++) {
    await database.shiftClock({ seconds: 31 * turn })
    await tick(db, second, own)
    await b.exact()
  }
  await database.shiftClock({ seconds: 0 })
  // What is left of the last end: a note that a slot is free, and that a parent is to be told of.
  await tellParents(b.ctx, { limit: 50 })
  await passSlots(db)
  const family = await familyOf(roots)
  await expectWholeRuns(
    db,
    family.map(({ id }) => id),
  )
  await expectTrueCounters(db)
  // Nothing was left for the look that puts right what nothing should have put wrong.
  expect(await reconcileSlots(db)).toEqual({ mended: 0, next: null })
  return family
}

/** Repeats at most: what a worker that went had in flight. */
function expectEffects(kind: (typeof metAt)[number], keys: string[], inFlight = 1): void {
  const seen = b.calls.splice(0).map(({ key }) => key)
  expect([...new Set(seen)].toSorted()).toEqual(keys.toSorted())
  expect(seen.length - keys.length).toBeLessThanOrEqual(kind === 'cut-after' ? inFlight : 0)
}

describe.each(metAt)('whichever statement is %s', (kind) => {
  test('a slot goes from one run to the next in line, and none is lost', { timeout: 60_000 }, async () => {
    const limits = [{ limit: 1 }, { limit: 1, key: '{{ input.k }}' }]
    const recipeId = await b.store({ concurrency: limits })
    await atEveryStatement(db, kind, async (line) => {
      const ids = [await b.execute(recipeId, { k: 'a' }), await b.execute(recipeId, { k: 'a' })]
      const family = await live(line, ids, 'passing')
      expect(family.map(({ state }) => state)).toEqual(['succeeded', 'succeeded'])
      expectEffects(
        kind,
        ids.map((id) => `${id}/1/only/0.0`),
      )
    })
  })

  test('a parent hears of the end of its child and goes on with its output', { timeout: 60_000 }, async () => {
    const recipeId = await b.store({}, [{ id: 'call', kind: 'recipe', recipe: 'works' }])
    await atEveryStatement(db, kind, async (line) => {
      const id = await b.execute(recipeId)
      const family = await live(line, [id], 'telling')
      expect(family).toMatchObject([
        { id, state: 'succeeded', output: 7 },
        { parent_run_id: id, state: 'succeeded' },
      ])
      expectEffects(kind, [`${family[1]!.id}/1/inner/0.0`])
    })
  })

  test('a child does not outlive a parent that fails', { timeout: 60_000 }, async () => {
    const call = { id: 'call', kind: 'recipe', recipe: 'waits', needs: [] }
    const recipeId = await b.store({}, [call, http('soon', { needs: [] }), http('bad', { needs: ['soon'] })])
    await atEveryStatement(db, kind, async (line) => {
      const id = await b.execute(recipeId)
      const family = await live(line, [id], 'canceling')
      expect(family[0]).toMatchObject({ id, state: 'failed' })
      // The parent may have come to its end before it had started any.
      for (const child of family.slice(1)) expect(child).toMatchObject({ parent_run_id: id, state: 'canceled' })
      b.calls.length = 0
    })
  })
})
