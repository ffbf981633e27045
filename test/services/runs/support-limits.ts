import { sql } from 'kysely'
import { expect } from 'vitest'
import { executeRecipe } from '../../../src/services/executions.service.ts'
import { createRecipe } from '../../../src/services/recipes.service.ts'
import { passSlots } from '../../../src/services/runs/concurrency/slots.ts'
import type { Json } from '../../../src/lib/json.ts'
import { createEngineBench, http, recipe, type EngineBench, type EngineDatabase } from '../../support/engine.ts'

/** An engine's bench with what tests of limits do over and over. */
export async function createLimitBench(database: Pick<EngineDatabase, 'db'>) {
  const { db } = database
  const b: EngineBench = await createEngineBench(database)
  let made = 0
  const start = (recipeId: string, input: Json = {}, more: { priority?: number; idempotencyKey?: string } = {}) =>
    executeRecipe(b.ctx, { recipe: recipeId, input, ...more })
  return {
    ...b,
    /** The id of a stored recipe. */
    async store(settings: object, steps: unknown[] = [http('only')]): Promise<string> {
      const definition = { ...recipe(steps), name: `Test ${++made}`, settings }
      return (await createRecipe(b.ctx, definition as never)).id
    },
    start,
    execute: async (...given: Parameters<typeof start>) => (await start(...given)).id,
    /** Works until nothing is left that could be taken up. */
    async work(): Promise<void> {
      const worker = b.worker()
      do {
        await worker.claim()
        await worker.idle()
      } while ((await passSlots(db)).length > 0)
    },
    async states(...ids: string[]): Promise<(string | undefined)[]> {
      const rows = await db.selectFrom('runs').select(['id', 'state']).where('id', 'in', ids).execute()
      return ids.map((id) => rows.find((row) => row.id === id)?.state)
    },
    types: async (id: string) => (await b.events(id)).map(({ type }) => type.replace('execution.', '')),
    /** Held slots are those of runs that may hold one, and never more than the limit. */
    exact: () => expectExact(db),
  }
}

export async function expectExact(db: EngineDatabase['db']): Promise<void> {
  const { rows: over } = await sql`
    select s.counter, count(*)::integer as held, max(size_of_slot(s)) as size from run_slots s where s.state = 'held'
    group by s.counter having count(*) > max(size_of_slot(s))`.execute(db)
  expect(over).toEqual([])
  const { rows: stray } = await sql`
    select s.run_id, r.state, s.scope, s.state as slot from run_slots s join runs r on r.id = s.run_id
    where s.state = 'held' and (r.state in ('paused', 'succeeded', 'failed', 'canceled', 'timed_out')
        or r.state = 'waiting' and s.scope = 'workspace')
      or s.state = 'held' and not r.slotted
      or s.state = 'wanted' and (r.state in ('running', 'succeeded', 'failed', 'canceled', 'timed_out'))
      or s.state = 'over' and r.state not in ('succeeded', 'failed', 'canceled', 'timed_out')`.execute(db)
  expect(stray).toEqual([])
  const { rows: lost } = await sql`
    select r.id, r.state from runs r where r.state = 'blocked'
      and not exists (select from held_runs h where h.run_id = r.id and h.reason = 'slot')
    union all
    select r.id, r.state from held_runs h join runs r on r.id = h.run_id
      where h.reason = 'slot' and r.state <> 'blocked' or exists (select from run_queue q where q.run_id = h.run_id)`.execute(
    db,
  )
  expect(lost).toEqual([])
}
