import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  cancelExecution,
  getExecution,
  pauseRun,
  resumeRun,
  retryRun,
} from '../../../src/services/executions.service.ts'
import { nextTurn } from '../../../src/lib/next-turn.ts'
import { recoverRuns, wakeDueRuns } from '../../../src/services/runs/claim.ts'
import { wakeHeldRuns } from '../../../src/services/runs/concurrency/held.ts'
import { passSlots, reconcileSlots } from '../../../src/services/runs/concurrency/slots.ts'
import { StepError } from '../../../src/services/runs/step-executor.ts'
import { updateCurrentWorkspace } from '../../../src/services/workspaces.service.ts'
import { gate, http, type EngineDatabase } from '../../support/engine.ts'
import { createLimitBench } from './support-limits.ts'

/** What limits on runs at a time promise, whoever claims, ends, parks or dies. */
export function concurrencySuite(open: () => Promise<EngineDatabase & { url?: string }>): void {
  let database: EngineDatabase & { url?: string }
  let db: EngineDatabase['db']
  beforeAll(async () => {
    database = await open()
    db = database.db
  })
  afterAll(() => database.close())

  const bench = () => createLimitBench(database)
  const hold = { id: 'hold', kind: 'wait', duration: '1h' }
  const later = async (seconds: number, work: () => Promise<void>) => {
    await database.shiftClock({ seconds })
    try {
      await work()
    } finally {
      await database.shiftClock({ seconds: 0 })
    }
  }

  describe('a limit', () => {
    test('is never exceeded by four workers over many runs, and all of them succeed', async () => {
      const b = await bench()
      const id = await b.store({ concurrency: { limit: 3 } })
      let now = 0
      let most = 0
      b.script('only', async () => {
        most = Math.max(most, ++now)
        await new Promise((resolve) => setImmediate(resolve))
        now--
        return { ok: true }
      })
      const ids: string[] = []
      // One embedded database serves one statement at a time: there are no more races in two hundred runs than in twenty.
      const count = database.url === undefined ? 20 : 200
      for (let n = 0; n < count; n++) ids.push(await b.execute(id, { n }))
      const workers = ['a', 'b', 'c', 'd'].map((name) => b.worker(name, { concurrency: 20 }))
      // Nobody waits for the others to be done: each claims whenever it has nothing left.
      await Promise.all(
        workers.map(async (worker) => {
          while ((await b.states(...ids)).some((state) => state !== 'succeeded')) {
            await worker.claim()
            await worker.idle()
            // An embedded database answers without a turn of the event loop, and what is under way needs one.
            await nextTurn()
          }
        }),
      )
      expect(most).toBe(3)
      expect(b.calls).toHaveLength(count)
      await b.exact()
    })

    test('of a key holds for each of its values alone, and the answer says what is waited for', async () => {
      const b = await bench()
      const recipeId = await b.store({ concurrency: { limit: 1, key: '{{ input.customer }}' } })
      const go = gate()
      b.script('only', () => go.opened.then(() => ({})))
      const a1 = await b.execute(recipeId, { customer: 'a' })
      const a2 = await b.execute(recipeId, { customer: 'a' })
      const a3 = await b.execute(recipeId, { customer: 'a' })
      const b1 = await b.execute(recipeId, { customer: 'b' })
      const worker = b.worker()
      await worker.claim()
      expect(await b.states(a1, a2, a3, b1)).toEqual(['running', 'blocked', 'blocked', 'running'])
      expect(await b.types(a2)).toEqual(['queued', 'blocked'])
      const limit = { reason: 'concurrency', scope: 'key', key: 'a', limit: 1, held_by: [a1] }
      expect((await getExecution(b.ctx, a2)).waits_for).toEqual({ ...limit, place: 1 })
      expect((await getExecution(b.ctx, a3)).waits_for).toEqual({ ...limit, place: 2 })
      expect((await getExecution(b.ctx, a1)).waits_for).toBeNull()
      go.open()
      await worker.idle()
      await b.work()
      expect(await b.states(a1, a2, a3, b1)).toEqual(['succeeded', 'succeeded', 'succeeded', 'succeeded'])
      await b.exact()
    })

    test('of the recipe and one of a key hold together', async () => {
      const b = await bench()
      const recipeId = await b.store({ concurrency: [{ limit: 2 }, { limit: 1, key: { $expr: 'input.n % 2.0' } }] })
      const go = gate()
      b.script('only', () => go.opened.then(() => ({})))
      const ids = []
      for (const n of [1, 3, 2, 4]) ids.push(await b.execute(recipeId, { n }))
      const worker = b.worker()
      await worker.claim()
      expect(await b.states(...ids)).toEqual(['running', 'blocked', 'running', 'blocked'])
      go.open()
      await worker.idle()
      await b.work()
      expect(await b.states(...ids)).toEqual(ids.map(() => 'succeeded'))
      await b.exact()
    })

    test('lets those in line go by priority, and in the order in which they came', async () => {
      const b = await bench()
      const recipeId = await b.store({ concurrency: { limit: 1 }, priority: -5 })
      const order: string[] = []
      const go = gate()
      b.script('only', async ({ key }) => {
        order.push(key.split('/')[0]!)
        await go.opened
        return {}
      })
      const first = await b.execute(recipeId)
      const worker = b.worker()
      await worker.claim()
      const low = [await b.execute(recipeId), await b.execute(recipeId)]
      const high = await b.execute(recipeId, {}, { priority: 7 })
      await worker.claim()
      // Comes when all others are in line, and is no more than the last of its priority.
      const last = await b.execute(recipeId)
      go.open()
      await worker.idle()
      await b.work()
      expect(order).toEqual([first, high, ...low, last])
      expect((await getExecution(b.ctx, high)).priority).toBe(7)
      expect((await getExecution(b.ctx, last)).priority).toBe(-5)
    })

    test('counts runs that wait, and gives the place of one that is canceled to the next', async () => {
      const b = await bench()
      const recipeId = await b.store({ concurrency: { limit: 1 } }, [hold, http('only')])
      const first = await b.execute(recipeId)
      const second = await b.execute(recipeId)
      await b.work()
      expect(await b.states(first, second)).toEqual(['waiting', 'blocked'])
      await b.exact()
      await cancelExecution(b.ctx, first, 'enough')
      await b.work()
      expect(await b.states(first, second)).toEqual(['canceled', 'waiting'])
      await b.exact()
      await cancelExecution(b.ctx, second, 'enough')
      await b.exact()
    })

    test('does not count a run that is paused, which is in line again when it is resumed', async () => {
      const b = await bench()
      const recipeId = await b.store({ concurrency: { limit: 1 } }, [hold, http('only')])
      const first = await b.execute(recipeId)
      const second = await b.execute(recipeId)
      await b.work()
      await pauseRun(b.ctx, first, null)
      await b.work()
      expect(await b.states(first, second)).toEqual(['paused', 'waiting'])
      await resumeRun(b.ctx, first)
      await b.work()
      expect(await b.states(first, second)).toEqual(['blocked', 'waiting'])
      await b.exact()
      await pauseRun(b.ctx, first, null)
      expect(await b.states(first)).toEqual(['paused'])
      await b.exact()
      await cancelExecution(b.ctx, first, 'enough')
      await cancelExecution(b.ctx, second, 'enough')
      await b.exact()
    })

    test('is kept by a run whose worker has died: nobody else gets its place', async () => {
      const b = await bench()
      const recipeId = await b.store({ concurrency: { limit: 1 } })
      const stuck = gate()
      b.script('only', ({ count }) => (count === 1 ? stuck.opened.then(() => ({})) : {}))
      const first = await b.execute(recipeId)
      const second = await b.execute(recipeId)
      const dead = b.worker('dead')
      await dead.claim()
      await later(31, async () => {
        expect(await recoverRuns(db, 10)).toBe(1)
        await passSlots(db)
        expect(await b.states(first, second)).toEqual(['queued', 'blocked'])
        await b.exact()
        await b.work()
      })
      stuck.open()
      await dead.idle()
      expect(await b.states(first, second)).toEqual(['succeeded', 'succeeded'])
      await b.exact()
    })

    test('is asked for again by a retry', async () => {
      const b = await bench()
      const recipeId = await b.store({ concurrency: { limit: 1 } }, [http('only'), hold])
      b.script('only', ({ count }) => {
        if (count === 1) throw new StepError('upstream', 'down', { retryable: false })
        return {}
      })
      const first = await b.execute(recipeId)
      await b.work()
      const second = await b.execute(recipeId)
      await b.work()
      expect(await b.states(first, second)).toEqual(['failed', 'waiting'])
      await retryRun(b.ctx, first)
      await b.work()
      expect(await b.states(first, second)).toEqual(['blocked', 'waiting'])
      await b.exact()
      await cancelExecution(b.ctx, first, 'enough')
      await cancelExecution(b.ctx, second, 'enough')
    })

    test('does not let a run wait for the one whose step has started it', async () => {
      const b = await bench()
      const child = await b.store({ concurrency: { limit: 1, key: 'one' } }, [
        {
          id: 'again',
          kind: 'recipe',
          recipe: 'itself',
          when: 'input.depth > 0',
          input: { depth: { $expr: 'input.depth - 1' } },
        },
      ])
      await db.updateTable('workflow_recipes').set({ slug: 'itself' }).where('id', '=', child).execute()
      const id = await b.execute(child, { depth: 2 })
      for (let round = 0; round < 6; round++) {
        await b.work()
        await later(1, async () => void (await wakeDueRuns(db, 10)))
      }
      expect(await b.states(id)).toEqual(['succeeded'])
      await b.exact()
    })
  })

  describe('the limit of a workspace', () => {
    test('holds for all its runs, counts none that waits, and can be changed under way', async () => {
      const b = await bench()
      const limit = (concurrent_executions: number | null) =>
        updateCurrentWorkspace(b.ctx, { settings: { concurrent_executions } })
      const go = gate()
      b.script('only', () => go.opened.then(() => ({})))
      const recipeId = await b.store({})
      const ahead = await b.execute(recipeId)
      const worker = b.worker()
      await worker.claim()
      // What runs when the limit is set counts.
      await limit(2)
      const waits = await b.execute(await b.store({}, [hold]))
      await worker.claim()
      await b.worker('other').idle()
      const ids = [await b.execute(recipeId), await b.execute(recipeId), await b.execute(recipeId)]
      const parked = async () => (await b.states(waits))[0] === 'waiting'
      while (!(await parked())) await new Promise((resolve) => setImmediate(resolve))
      await passSlots(db)
      await worker.claim()
      expect(await b.states(ahead, waits, ...ids)).toEqual(['running', 'waiting', 'running', 'blocked', 'blocked'])
      expect((await getExecution(b.ctx, ids[1]!)).waits_for).toMatchObject({ scope: 'workspace', limit: 2, place: 1 })
      await b.exact()
      await limit(3)
      await passSlots(db)
      await worker.claim()
      expect(await b.states(...ids)).toEqual(['running', 'running', 'blocked'])
      await limit(null)
      await passSlots(db)
      await worker.claim()
      expect(await b.states(...ids)).toEqual(['running', 'running', 'running'])
      go.open()
      await worker.idle()
      expect(await b.states(ahead, ...ids)).toEqual(['succeeded', 'succeeded', 'succeeded', 'succeeded'])
      await b.exact()
    })

    test('takes back what it handed to a run that ends before its turn, also where it has been lifted meanwhile', async () => {
      const b = await bench()
      const limit = (concurrent_executions: number | null) =>
        updateCurrentWorkspace(b.ctx, { settings: { concurrent_executions } })
      await limit(1)
      const recipeId = await b.store({}, [hold, http('only')])
      const go = gate()
      b.script('only', () => go.opened.then(() => ({})))
      const first = await b.execute(await b.store({}))
      const worker = b.worker()
      await worker.claim()
      const ids = [await b.execute(recipeId), await b.execute(recipeId), await b.execute(recipeId)]
      await worker.claim()
      expect(await b.states(first, ...ids)).toEqual(['running', 'blocked', 'blocked', 'blocked'])
      await limit(2)
      await passSlots(db)
      expect(await b.states(...ids)).toEqual(['queued', 'blocked', 'blocked'])
      await cancelExecution(b.ctx, ids[0]!, 'enough')
      await b.exact()
      await passSlots(db)
      expect(await b.states(...ids)).toEqual(['canceled', 'queued', 'blocked'])
      await pauseRun(b.ctx, ids[1]!, null)
      await b.exact()
      await limit(null)
      await passSlots(db)
      expect(await b.states(...ids)).toEqual(['canceled', 'paused', 'queued'])
      await cancelExecution(b.ctx, ids[2]!, 'enough')
      await b.exact()
      await cancelExecution(b.ctx, ids[1]!, 'enough')
      go.open()
      await worker.idle()
      await b.exact()
    })

    test('lets a blocked run end when its own time is up', async () => {
      const b = await bench()
      await updateCurrentWorkspace(b.ctx, { settings: { concurrent_executions: 1 } })
      const go = gate()
      b.script('only', () => go.opened.then(() => ({})))
      const waits = await b.execute(await b.store({ timeout: '2h' }, [hold, http('only')]))
      await b.work()
      const other = await b.execute(await b.store({}))
      const worker = b.worker()
      await worker.claim()
      await later(3601, async () => {
        await wakeDueRuns(db, 10)
        await worker.claim()
        expect(await b.states(waits, other)).toEqual(['blocked', 'running'])
      })
      await later(7201, async () => {
        expect(await wakeHeldRuns(db, 10)).toEqual([waits])
        const second = b.worker('second')
        await second.claim()
        await second.idle()
        expect(await b.states(waits, other)).toEqual(['timed_out', 'running'])
      })
      go.open()
      await worker.idle()
      await b.exact()
    })
  })

  test('what contradicts itself is put right by the look at all slots', async () => {
    const b = await bench()
    const recipeId = await b.store({ concurrency: { limit: 1 } }, [hold])
    const first = await b.execute(recipeId)
    const second = await b.execute(recipeId)
    const third = await b.execute(recipeId)
    await b.work()
    // As if nobody had given the slot back, nobody had noted it, and a place in the line had got lost.
    await sql`alter table runs disable trigger runs_release_slots`.execute(db)
    await cancelExecution(b.ctx, first, 'enough')
    await sql`alter table runs enable trigger runs_release_slots`.execute(db)
    await db.deleteFrom('held_runs').where('run_id', '=', third).execute()
    expect((await reconcileSlots(db)).mended).toBeGreaterThan(0)
    await b.work()
    expect(await b.states(first, second, third)).toEqual(['canceled', 'waiting', 'blocked'])
    await b.exact()
    expect(await reconcileSlots(db)).toEqual({ mended: 0, next: null })
    for (const id of [third, second]) await cancelExecution(b.ctx, id, 'enough')
  })

  test('the look at all slots goes on where it stopped, and notes a free one once', async () => {
    const b = await bench()
    const recipeId = await b.store({ concurrency: { limit: 1, key: '{{ input.n }}' } }, [hold])
    const ids = []
    for (const n of [1, 1, 2, 2, 3, 3]) ids.push(await b.execute(recipeId, { n }))
    await b.work()
    await db.deleteFrom('held_runs').where('run_id', 'in', ids).execute()
    let look = await reconcileSlots(db, null, 2)
    const mended = [look.mended]
    while (look.next) {
      look = await reconcileSlots(db, look.next, 2)
      mended.push(look.mended)
    }
    expect(Math.max(...mended)).toBeLessThan(3)
    expect(mended.reduce((sum, count) => sum + count)).toBe(3)
    await b.work()
    await b.exact()
    // A slot that nobody has noted, before a line.
    const held = (await b.states(...ids)).findIndex((state) => state === 'waiting')
    await cancelExecution(b.ctx, ids[held]!, 'enough')
    await db.deleteFrom('freed_slots').execute()
    expect((await reconcileSlots(db)).mended).toBe(1)
    expect((await reconcileSlots(db)).mended).toBe(0)
    for (const id of ids) await cancelExecution(b.ctx, id, 'enough')
  })

  test('a run whose claim was under way when the limit of its workspace was set is counted by the look', async () => {
    const b = await bench()
    const go = gate()
    b.script('only', () => go.opened.then(() => ({})))
    const [first, second] = [await b.execute(await b.store({})), await b.execute(await b.store({}))]
    const worker = b.worker('one', { concurrency: 1 })
    await worker.claim()
    const running = (await b.states(first)).includes('running') ? first : second
    const workspace_id = b.ctx.actor.workspaceId
    // What the setting of the limit did not see.
    await db.insertInto('workspace_limits').values({ workspace_id, runs: 1 }).execute()
    expect((await reconcileSlots(db)).mended).toBe(1)
    const other = b.worker('two')
    await other.claim()
    expect(await b.states(running === first ? second : first)).toEqual(['blocked'])
    go.open()
    await worker.idle()
    await b.work()
    expect(await b.states(first, second)).toEqual(['succeeded', 'succeeded'])
    await b.exact()
  })
}
