import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  cancelExecution,
  executeRecipe,
  getExecution,
  pauseRun,
  resumeRun,
} from '../../../src/services/executions.service.ts'
import { createRecipe } from '../../../src/services/recipes.service.ts'
import { claimRuns, recoverRuns, wakeDueRuns } from '../../../src/services/runs/claim.ts'
import { passSlots, reconcileSlots } from '../../../src/services/runs/concurrency/slots.ts'
import { updateCurrentWorkspace } from '../../../src/services/workspaces.service.ts'
import type { Json } from '../../../src/lib/json.ts'
import { createEngineBench, gate, http, recipe, type EngineBench, type EngineDatabase } from '../../support/engine.ts'

/** What limits on runs at a time promise, whoever claims, ends, parks or dies. */
export function concurrencySuite(open: () => Promise<EngineDatabase>): void {
  let database: EngineDatabase
  let db: EngineDatabase['db']
  beforeAll(async () => {
    database = await open()
    db = database.db
  })
  afterAll(() => database.close())

  const bench = () => createEngineBench(database)
  async function store(b: EngineBench, settings: object, steps: unknown[] = [http('only')]): Promise<string> {
    const { id } = await createRecipe(b.ctx, { ...recipe(steps), settings } as never)
    return id
  }
  const execute = async (b: EngineBench, recipeId: string, input: Json = {}, more: object = {}) =>
    (await executeRecipe(b.ctx, { recipe: recipeId, input, ...more })).id
  async function work(b: EngineBench): Promise<void> {
    const worker = b.worker()
    do {
      await worker.claim()
      await worker.idle()
    } while ((await passSlots(db)).length > 0)
  }
  const states = async (ids: string[]) => {
    const rows = await db.selectFrom('runs').select(['id', 'state']).where('id', 'in', ids).execute()
    return ids.map((id) => rows.find((row) => row.id === id)?.state)
  }
  const types = async (b: EngineBench, id: string) => (await b.events(id)).map(({ type }) => type)
  /** Held slots are those of runs that may hold one, and never more than the limit. */
  async function exact(): Promise<void> {
    const { rows } = await sql`
      select s.counter, count(*)::integer as held, max(s.size) as size from run_slots s where s.state = 'held'
      group by s.counter having count(*) > max(s.size)`.execute(db)
    expect(rows).toEqual([])
    const stray = await sql`
      select s.run_id, r.state, s.state as slot from run_slots s join runs r on r.id = s.run_id
      where s.state = 'held' and (r.state in ('paused', 'succeeded', 'failed', 'canceled', 'timed_out')
        or r.state = 'waiting' and s.scope = 'workspace')
        or s.state = 'wanted' and r.state = 'running'`.execute(db)
    expect(stray.rows).toEqual([])
  }

  describe('a limit', () => {
    test('is never exceeded by four workers over two hundred runs, and all of them succeed', async () => {
      const b = await bench()
      const id = await store(b, { concurrency: { limit: 3 } })
      let now = 0
      let most = 0
      b.script('only', async () => {
        most = Math.max(most, ++now)
        await new Promise((resolve) => setImmediate(resolve))
        now--
        return { ok: true }
      })
      const ids: string[] = []
      for (let n = 0; n < 200; n++) ids.push(await execute(b, id, { n }))
      const workers = ['a', 'b', 'c', 'd'].map((name) => b.worker(name, { concurrency: 20 }))
      const isOver = async () => (await states(ids)).every((state) => state === 'succeeded')
      while (!(await isOver())) {
        await Promise.all(workers.map((worker) => worker.claim()))
        await Promise.all(workers.map((worker) => worker.idle()))
      }
      expect(most).toBe(3)
      expect(b.calls).toHaveLength(200)
      await exact()
      const started = await sql<{ id: string }>`
        select id from runs where id = any(${sql.val(`{${ids.join(',')}}`)}::text::uuid[]) order by started_at, id`.execute(
        db,
      )
      expect(started.rows).toHaveLength(200)
    })

    test('of a key holds for each of its values alone', async () => {
      const b = await bench()
      const recipeId = await store(b, { concurrency: { limit: 1, key: '{{ input.customer }}' } })
      const go = gate()
      b.script('only', () => go.opened.then(() => ({})))
      const [a1, a2, b1] = [
        await execute(b, recipeId, { customer: 'a' }),
        await execute(b, recipeId, { customer: 'a' }),
        await execute(b, recipeId, { customer: 'b' }),
      ]
      const worker = b.worker()
      await worker.claim()
      expect(await states([a1, a2, b1])).toEqual(['running', 'blocked', 'running'])
      expect(await types(b, a2)).toEqual(['execution.queued', 'execution.blocked'])
      expect((await getExecution(b.ctx, a2)).waits_for).toEqual({
        reason: 'concurrency',
        scope: 'key',
        key: 'a',
        limit: 1,
        place: 1,
        held_by: [a1],
      })
      go.open()
      await worker.idle()
      await work(b)
      expect(await states([a1, a2, b1])).toEqual(['succeeded', 'succeeded', 'succeeded'])
      expect((await getExecution(b.ctx, a2)).waits_for).toBeNull()
      await exact()
    })
  })
}
